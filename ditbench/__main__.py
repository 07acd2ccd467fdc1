"""The command, from its first import on: whenever a signal comes, it is a wish to stop, and exit code 130."""

from __future__ import annotations

from ditbench.errors import INTERRUPTED
from ditbench.run.interrupts import Interrupts


def main() -> int:
    """Run the command line of this process; its exit code."""
    with Interrupts(at_the_end=True):
        try:
            from ditbench import cli  # noqa: PLC0415 (it takes long enough to be interrupted)

            return cli.main()
        except KeyboardInterrupt:
            return INTERRUPTED


if __name__ == "__main__":
    raise SystemExit(main())
