"""`python -m ditbench.devices.guardian UUID...`: lets the clocks of these GPUs go when its stdin closes.

Whoever locked them holds the other end; the kernel closes that however its process ends.
"""

from __future__ import annotations

import signal
import sys

from ditbench.devices import clocks, nvml


def main(uuids: list[str]) -> int:
    """Say that we are ready, wait for the end, let go. 1 where NVML cannot be asked."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    driver = nvml.load()
    if driver is None:
        return 1
    sys.stdout.buffer.write(clocks.READY)
    sys.stdout.flush()
    sys.stdin.buffer.read()
    clocks.release(driver, uuids)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
