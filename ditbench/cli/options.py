"""Options that several verbs share, each written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ditbench.cli import completion
from ditbench.cli.completion import BASELINES, RESULTS

__all__ = ["BASELINES", "RESULTS"]

SuiteFile = Annotated[
    Path,
    typer.Argument(
        metavar="SUITE", help="A suite: one YAML file.", autocompletion=completion.yaml_files
    ),
]
Select = Annotated[
    str, typer.Option("-k", metavar="REGEX", help="Only cells whose id matches (see `plan`).")
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="AXIS=V1,V2",
        help="Replace an axis or a setting; values are YAML.",
        autocompletion=completion.axes,
    ),
]
Quick = Annotated[
    bool,
    typer.Option("--quick", help="One process, few repeats: to see that it works, not to compare."),
]
Gpu = Annotated[
    str | None,
    typer.Option(
        "--gpu",
        metavar="UUID|N|cpu|all",
        help="The device, or several as 0,1; default: an idle GPU, or the CPU.",
    ),
]
LockClocks = Annotated[
    str,
    typer.Option(
        "--lock-clocks",
        metavar="MHZ|base|max",
        help="Lock the GPU's clock meanwhile (needs root); it is let go of however this ends.",
    ),
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Where runs are kept.")]
Baselines = Annotated[
    Path, typer.Option("--baselines", metavar="DIR", help="Where baselines are kept.")
]
Floors = Annotated[
    str,
    typer.Option(
        "--floors",
        metavar="NAME",
        help="The baseline beside which the floors of noise lie; default: the suite's name.",
    ),
]
Json = Annotated[
    bool,
    typer.Option(
        "--json",
        help='A list of objects on stdout; what is not finite is the text "inf", "-inf" or "nan".',
    ),
]
RunName = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run's id or its beginning, its folder, `latest`, or a suite's file: its newest run.",
        autocompletion=completion.runs,
    ),
]
Concluded = Annotated[
    str,
    typer.Option(
        "--baseline",
        metavar="NAME|RUN|none",
        help="What to compare with; default: what the run was concluded with.",
        autocompletion=completion.baselines_and_runs,
    ),
]
