"""The verbs before the first run: init, schema. None imports torch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ditbench import errors
from ditbench.cli import completion, preparing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SCHEMA_FILE = "ditbench.schema.json"


def add_to(app: typer.Typer) -> None:
    """Register these verbs."""
    app.command("init")(init)
    app.command("schema")(schema)


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The suite to write.")] = Path(
        "suite.yaml"
    ),
    model: Annotated[
        str,
        typer.Option(
            "--model",
            metavar="NAME",
            help="A model, see `models`; op: the attention core by itself.",
        ),
    ] = "fashion-dit",
    attention: Annotated[
        str,
        typer.Option(
            "--attention",
            metavar="A,B",
            help="Methods, see `methods`.",
            autocompletion=completion.methods,
        ),
    ] = "softmax,sdpa,monarch",
    with_schema: Annotated[
        bool, typer.Option("--schema", help=f"Write {SCHEMA_FILE} beside it, for editors.")
    ] = False,
) -> int:
    """Write a first suite, with every key explained; nothing is overwritten."""
    from ditbench.records import OP
    from ditbench.suite.schema import schema as made
    from ditbench.suite.template import template

    _check_free(file)
    # softmax is what all others are judged against.
    methods = list(dict.fromkeys(["softmax", *(one.strip() for one in attention.split(","))]))
    catalog = preparing.catalog(methods, [model])
    if lost := next((one for one in (*methods, model) if one in catalog.nowhere), ""):
        raise errors.UsageError(catalog.nowhere[lost])
    _check("--attention", methods, catalog.methods)
    _check("--model", [model], (*catalog.models, OP))
    text = template(catalog, model, methods, file.stem, SCHEMA_FILE if with_schema else "")
    _write(file, text, "x")
    if with_schema:
        _write(file.with_name(SCHEMA_FILE), _json(made(catalog)), "w")
    print(file)
    return errors.OK


def schema() -> int:
    """Print the JSON schema of suites, for editors: all keys, methods, models and metrics."""
    from ditbench.suite.schema import schema as made

    print(_json(made(preparing.catalog())), end="")
    return errors.OK


def _json(value: object) -> str:
    return f"{json.dumps(value, indent=1)}\n"


def _check(option: str, names: Sequence[str], known: Iterable[str]) -> None:
    from ditbench.registry import did_you_mean

    known = tuple(known)
    for name in names:
        if name not in known:
            near = did_you_mean(name, known) or f" (known: {', '.join(known)})"
            raise errors.UsageError(f"{option}: unknown name {name!r}{near}")


def _check_free(file: Path) -> None:
    """Raises UsageError where something is there already."""
    with _told(file):
        taken = file.exists() or file.is_symlink()
    if taken:
        raise errors.UsageError(f"{file} is there already: name another file")


def _write(file: Path, text: str, mode: Literal["x", "w"]) -> None:
    """Raises UsageError where the file cannot be made."""
    with _told(file), file.open(mode, encoding="utf-8") as opened:
        opened.write(text)


@contextmanager
def _told(file: Path) -> Iterator[None]:
    """What the system says of a file, in one line."""
    try:
        yield
    except OSError as error:
        raise errors.UsageError(f"{file}: cannot be written: {error.strerror}") from error
