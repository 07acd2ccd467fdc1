"""The command line: verbs, thin; each imports its stage when it is called, so that --help starts at once."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
import time
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from ditbench import __version__, errors
from ditbench.cli import (
    ab,
    baselines,
    doctor,
    drawing,
    exporting,
    keeping,
    noise,
    offering,
    policies,
    profiling,
    reading,
    running,
    sampling,
    starting,
    statistics,
    tracing,
)
from ditbench.cli.tree import tree
from ditbench.run.interrupts import Interrupts, arrived

app = typer.Typer(
    name="ditbench",
    help="Measure attention methods in Diffusion Transformers, and say whether the numbers changed.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
running.add_to(app)
ab.add_to(app)
sampling.add_to(app)
profiling.add_to(app)
drawing.add_to(app)
tracing.add_to(app)
policies.add_to(app)
statistics.add_to(app)
reading.add_to(app)
exporting.add_to(app)
offering.add_to(app)
starting.add_to(app)
baselines.add_to(app)
keeping.add_to(app)
noise.add_to(app)
doctor.add_to(app)


# So long after a line that failed the signal of a closed terminal comes at most, on a busy machine.
_HANG_UP_S = 0.5
# What a disk or a terminal says that takes no more.
_NO_OUTPUT = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF})


def _version(asked: bool) -> None:  # noqa: FBT001 (typer's callback)
    if asked:
        print(f"ditbench {__version__}")
        raise typer.Exit


_Version = Annotated[
    bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which.")
]


@app.callback()
def _root(
    _version: _Version = False,
) -> None:
    """Measure attention methods in Diffusion Transformers, and say whether the numbers changed."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code by DESIGN's table. A person's mistake is one clear line."""
    # A file's name may hold bytes that are no text.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    with Interrupts():
        code = _delivered(_run(arguments))
        return errors.INTERRUPTED if arrived() else code


def _run(arguments: Sequence[str] | None) -> int:
    try:
        given = None if arguments is None else list(arguments)
        code = tree(app).main(given, prog_name="ditbench", standalone_mode=False)
    except errors.DitbenchError as error:
        # A suite's mistakes begin with their own place, which editors and terminals know how to follow.
        prefix = "" if isinstance(error, errors.SuiteError) else "ditbench: "
        _tell(f"{prefix}{error}")
        return error.exit_code
    except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001 (the last line of defence: say what it is)
        if _hung_up(error) or arrived():  # and what broke on the way out is its doing
            _tell("ditbench: interrupted")
            return errors.INTERRUPTED
        return _broken(error)
    if arrived():
        _tell("ditbench: interrupted")
    return int(code or errors.OK)


def _hung_up(error: BaseException) -> bool:
    """Whether a terminal closed: what is written to it fails just before the signal says so."""
    if not (isinstance(error, OSError) and error.errno == errno.EIO):
        return False
    with contextlib.suppress(KeyboardInterrupt):
        time.sleep(_HANG_UP_S)
    return arrived()


def _delivered(code: int) -> int:
    """The exit code once all output is where it belongs: a full disk is told, a reader who left is not."""
    try:
        sys.stdout.flush()
    except OSError as error:
        # Python would flush again at its end, and fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.EPIPE:
            return code
        _tell(f"ditbench: standard output: {error.strerror}")
        return code or errors.USAGE
    return code


def _tell(line: str) -> None:
    """One line on stderr, if anybody is left to read it."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr)


def _broken(error: BaseException) -> int:
    """What gave way is told in one line; typer itself leaves with SystemExit where a pipe did."""
    if isinstance(error, BrokenPipeError) or isinstance(error.__context__, BrokenPipeError):
        return errors.OK  # the reader of our output has left, as `| head` does
    if isinstance(error, SystemExit):
        raise error
    if isinstance(error, OSError) and (error.filename or error.errno in _NO_OUTPUT):
        what = errors.one_line(str(error.filename or "standard output"))
        _tell(f"ditbench: {what[:200]}: {error.strerror}")
        return errors.USAGE
    return _unforeseen(error)


def _unforeseen(error: BaseException) -> int:
    """Typer's own usage errors show themselves; anything else is ours to be ashamed of."""
    if hasattr(error, "show") and hasattr(error, "exit_code"):
        error.show()
        return errors.USAGE
    traceback.print_exception(error)
    print("ditbench: an internal error, please report it with the lines above", file=sys.stderr)
    return errors.INTERNAL
