"""What must be true of the fork server, and how its children find out.

A child inherits whatever the server did: a thread pool that it cannot use, a CUDA context that it must not
touch. After one matrix product in the server every child hung. So the server marks itself when it has
imported its modules, counts its threads just before each fork, and every child looks before it works.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ditbench.devices import processes
from ditbench.errors import UnfitError
from ditbench.run.interrupts import SIGNALS


@dataclass
class Mark:
    """The server's own account, inherited by its children.

    server: its process id, 0 before `arm`. failure: the error of an import that did not work. threads and
    cuda are looked up just before each fork.
    """

    server: int = 0
    failure: str = ""
    threads: int = 0
    cuda: bool = False


MARK = Mark()

# diffusers asks for a GPU when imported; torch asks CUDA itself then, unless told to ask NVML, and with no
# GPU to be seen it asks nobody. A CUDA that was asked reads CUDA_VISIBLE_DEVICES never again, and no child
# can use it.
_NO_GPU = {"PYTORCH_NVML_BASED_CUDA_CHECK": "1", "CUDA_VISIBLE_DEVICES": ""}
# numpy's and scipy's OpenBLAS start threads when loaded. Not for longer: on some processors torch's own
# products go through OpenBLAS too.
_NO_BLAS_THREADS = {"OPENBLAS_NUM_THREADS": "1"}


def arm(*modules: str, single_threaded: tuple[str, ...] = ()) -> None:
    """Make this process a server fit to fork: import, mark, end with the parent, look before each fork.

    It hears no Ctrl-C and no closed terminal, from before its first import on: those are its parent's to
    handle. single_threaded: modules to import first, with OpenBLAS told to start no threads of its own. An
    import that fails is kept as text, because multiprocessing swallows it.
    """
    MARK.server = os.getpid()
    _end_with_parent()
    try:
        with _set_for_a_while(**_NO_GPU):
            with _set_for_a_while(**_NO_BLAS_THREADS):
                _import(single_threaded)
            _import(modules)
    except Exception as error:  # noqa: BLE001 (a plug-in may raise anything; every child says it)
        MARK.failure = f"{type(error).__name__}: {error}"
    gc.freeze()  # so that a child's collector does not copy the server's pages by touching them
    os.register_at_fork(before=_look)


def check(preload: str) -> None:
    """Refuse, in a child, to work on what was inherited from an unfit server. Raises UnfitError.

    Ends this process where the server is already gone: nobody waits for an answer.
    """
    if preload not in sys.modules:
        raise UnfitError(f"the fork server has not imported {preload}: {_cause(preload)}")
    if MARK.failure:
        raise UnfitError(f"the fork server could not import what {preload} names: {MARK.failure}")
    if MARK.threads != 1:
        raise UnfitError(
            f"the fork server had {MARK.threads} threads when it forked, and a child of such a server "
            f"may hang: something that {preload} imports starts threads"
        )
    if MARK.cuda or _asked_before_the_fork():
        raise UnfitError(
            f"the fork server has initialised CUDA, or asked it something, and no child can use it after "
            f"that: see what {preload} imports"
        )
    if os.getppid() != MARK.server:
        os._exit(1)


def be_a_worker() -> None:
    """Make this process, fresh from the fork, one that dies with the server and leaves nothing unseen.

    It leads a session of its own; what it starts and forgets stays its own until it ends, and is the
    server's from then on.
    """
    processes.die_with_parent()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.setsid()
    processes.adopt_orphans()


def _end_with_parent() -> None:
    """Leave the terminal's reach; take every descendant along when the parent ends, however it ends.

    The chain is ditbench -> server -> worker -> what a method starts. multiprocessing alone would not do:
    each worker holds the pipe by which the server notices that its parent has gone, so a hanging worker
    keeps both alive.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    with contextlib.suppress(PermissionError):  # it leads a session already
        os.setsid()
    processes.adopt_orphans()
    # multiprocessing is surprised by every orphan that it reaps
    warnings.filterwarnings("ignore", "forkserver: waitpid returned unexpected pid")
    processes.die_with_parent(signal.SIGTERM)
    atexit.register(processes.end_children)
    signal.pthread_sigmask(
        signal.SIG_UNBLOCK, SIGNALS
    )  # they were held back while this process started


def _end(_number: int, _frame: object) -> None:
    if os.getpid() == MARK.server:
        processes.end_children()
    os._exit(128 + signal.SIGTERM)


def _look() -> None:
    MARK.threads = len(list(Path("/proc/self/task").iterdir()))
    torch = sys.modules.get("torch")
    MARK.cuda = torch is not None and torch.cuda.is_initialized()


def _asked_before_the_fork() -> bool:
    """Whether CUDA was as much as asked for its devices there: torch calls it uninitialised even so."""
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda._is_in_bad_fork())  # noqa: SLF001 (told nowhere else)


def _import(modules: tuple[str, ...]) -> None:
    for module in modules:
        importlib.import_module(module)


def _cause(preload: str) -> str:
    try:
        importlib.import_module(preload)
    except ImportError as error:
        return f"{type(error).__name__}: {error}"
    return "another server was already running in this process"


@contextlib.contextmanager
def _set_for_a_while(**variables: str) -> Iterator[None]:
    """These environment variables, and afterwards what was there before."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            del os.environ[name]
            if value is not None:
                os.environ[name] = value
