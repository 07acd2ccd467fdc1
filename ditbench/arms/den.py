"""One temporary folder for all that a session makes, which whoever comes next clears where its maker died.

A lock says whose it is. It goes with the process that holds it, however that ends, so a folder whose lock
can be had belongs to nobody.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from ditbench.errors import UsageError

PREFIX = "ditbench-ab-"
_LOCK = "lock"


@contextlib.contextmanager
def den() -> Iterator[Path]:
    """A folder until the end, removed however that comes; after SIGKILL `dead` finds it.

    Raises UsageError where none can be made.
    """
    with contextlib.ExitStack() as stack:
        try:
            folder, lock = _made()
        except OSError as error:
            raise UsageError(
                f"{tempfile.gettempdir()}: no room for the folders of the arms: {error.strerror}; "
                "set TMPDIR to another folder"
            ) from error
        stack.enter_context(lock)
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        yield folder


def dead(folders: Iterable[Path] = ()) -> Iterator[Path]:
    """Folders of sessions that were killed, each held while the caller clears it, and then removed.

    folders: where else to look beside those in the temporary folder. One without a lock was made this moment.
    """
    for folder in dict.fromkeys((*_here(), *folders)):
        with contextlib.suppress(OSError), (folder / _LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield folder
            shutil.rmtree(folder, ignore_errors=True)


def _made() -> tuple[Path, IO[str]]:
    """A new folder and its lock, held. Somebody who clears up may have been quicker: then another one."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
        lock = (folder / _LOCK).open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.fstat(lock.fileno()).st_nlink:
            return folder, lock
        lock.close()


def _here() -> list[Path]:
    """Those in the temporary folder that belong to this person."""
    found = Path(tempfile.gettempdir()).resolve().glob(f"{PREFIX}*")
    return [one for one in found if one.is_dir() and one.stat().st_uid == os.getuid()]
