"""`ditbench stats`: statistics of real pictures in a network's features, made and shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ditbench import errors
from ditbench.cli import output
from ditbench.cli.options import Gpu, Json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ditbench.devices.device import Device
    from ditbench.run.server import Server
    from ditbench.store.parts import Part
    from ditbench.store.statistics import Reference, Wanted

_HOURS = 24.0 * 3600  # 50,000 pictures on a laptop take some; what hangs is ended by who waits
_stats = typer.Typer(
    help="Statistics of real pictures, which Frechet distances are taken to.", no_args_is_help=True
)


def add_to(app: typer.Typer) -> None:
    """Register these verbs."""
    app.add_typer(_stats, name="stats")


@_stats.command("make")
def make(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A folder of pictures, of IDX files or of CIFAR-10, an .npz, or hub:owner/name.",
        ),
    ],
    extractor: Annotated[
        str, typer.Option("--extractor", metavar="NAME", help="The network, as `inception`.")
    ],
    to: Annotated[Path, typer.Option("--to", metavar="FILE", help="The .npz to write.")],
    weights: Annotated[
        str, typer.Option("--weights", metavar="FILE", help="Of the network; default: its own.")
    ] = "",
    resize: Annotated[
        str,
        typer.Option(
            "--resize", metavar="WAY", help="To the network's size, where it has a choice."
        ),
    ] = "",
    split: Annotated[
        str, typer.Option("--split", metavar="NAME", help="Of the pictures: train, test, val.")
    ] = "train",
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", min=2, help="So many of them, spread evenly; all."),
    ] = None,
    pad: Annotated[
        int | None,
        typer.Option(
            "--pad", metavar="SIZE", min=1, help="A black margin up to SIZE x SIZE pixels."
        ),
    ] = None,
    gpu: Gpu = None,
) -> int:
    """Look at real pictures with a network once, and keep mean, covariance and features."""
    from ditbench.cli.preparing import Choices, session_of
    from ditbench.store import statistics
    from ditbench.store.parts import together

    given = (("weights", weights), ("resize", resize))
    settings = tuple((name, value) for name, value in given if value)
    wanted = statistics.Wanted(source, extractor, split, limit or 0, pad or 0, settings)
    _check_target(to)
    with session_of(Choices(to, gpu=gpu)) as (server, devices):
        reference = together(_looked(server, devices, wanted), output.warn)
    if Path(source).is_file() and statistics.holds(Path(source)):
        reference = statistics.completed(statistics.read(Path(source)), reference)
    statistics.save(to, reference)
    for doubt in _doubts(reference):
        output.warn(doubt)
    print(to)
    return errors.OK


@_stats.command("show")
def show(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="What `stats make` wrote, or an ADM batch.")
    ],
    json: Json = False,
) -> int:
    """Say whose statistics a file holds, and whether they are fit for a distance."""
    from ditbench.store import statistics

    reference = statistics.read(file)
    told = _told(reference)
    if json:
        return output.as_json([told])
    output.card([("file", str(file)), *((word, _word(value)) for word, value in told.items())])
    for doubt in _doubts(reference):
        output.warn(doubt)
    return errors.OK


def _looked(server: Server, devices: Sequence[Device], wanted: Wanted) -> list[Part]:
    """Each device looks at one part of the pictures."""
    from concurrent.futures import ThreadPoolExecutor

    def look(number: int) -> Part:
        device = devices[number]
        found: Part = server.call(
            "ditbench.measure.statistics:make",
            wanted,
            device.name,
            number,
            len(devices),
            device=device.name,
            alone=device.gpu is not None,
            timeout_s=_HOURS,
            hear=output.warn,
        )
        return found

    with ThreadPoolExecutor(len(devices)) as pool:
        try:
            return list(pool.map(look, range(len(devices))))
        except BaseException:  # a part that failed, or Ctrl-C: the others' work is lost with it
            server.stop()
            raise


def _check_target(to: Path) -> None:
    """Before anything is computed. Raises UsageError where the file could not be written afterwards."""
    if to.suffix != ".npz":
        raise errors.UsageError(f"--to {to}: statistics are kept in an .npz: write {to}.npz")
    if to.exists():
        raise errors.UsageError(f"--to {to}: is there already: remove it, or write to another file")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        probe = to.with_name(f".{to.name}.tmp")
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise errors.UsageError(f"--to {to}: cannot be written: {error.strerror}") from error


def _told(reference: Reference) -> dict[str, Any]:
    """What a file says of itself; None for what nobody wrote down."""
    from ditbench.distances.frechet import rank_deficient

    return {
        **{word: value or None for word, value in reference.identity.items()},
        "input": reference.input if reference.input >= 0 else None,
        "width": len(reference.moments.mean),
        "spatial_width": len(reference.spatial.mean) if reference.spatial else None,
        "features_kept": 0 if reference.features is None else len(reference.features),
        "rank_deficient": rank_deficient(reference.moments),
    }


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "not said" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _doubts(reference: Reference) -> list[str]:
    """Why a distance to these would say little, one line each."""
    from ditbench.distances.frechet import rank_deficient

    width = len(reference.moments.mean)
    if 0 < reference.count <= width:
        few = f"{reference.count} pictures are not more than {width} features"
        return [f"{few}: distances to them are finite but biased; take more, or read KID"]
    if rank_deficient(reference.moments):
        return [f"the covariance of {width} features is singular: distances to it say little"]
    return []
