"""The tensors of a weights file, read without running anything that it holds.

A TorchScript file is a program with its numbers: `torch.jit.load` compiles it, may run its `__setstate__`,
and a forward runs the rest. It is a zip whose `data.pkl` says which numbers belong where; only those are
taken here, by an unpickler that knows tensors and makes an empty shell of every class of the program.
Other files go through `torch.load(weights_only=True)`, whose unpickler is as narrow.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from ditbench.errors import UsageError, one_line

_DTYPES = {"FloatStorage": torch.float32, "HalfStorage": torch.float16, "LongStorage": torch.int64}


def tensors(path: Path) -> dict[str, torch.Tensor]:
    """Tensors by dotted name, in the file's own order. Raises UsageError for a file of another kind."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as file:
                if any(name.endswith("/constants.pkl") for name in file.namelist()):
                    return dict(_named(_Reader(file).load(), ""))
        return dict(_named(torch.load(path, map_location="cpu", weights_only=True), ""))
    except (OSError, EOFError, KeyError, RuntimeError, ValueError, TypeError) as error:
        raise UsageError(f"{path}: holds no weights: {one_line(str(error))[:200]}") from error
    except (pickle.UnpicklingError, zipfile.BadZipFile) as error:
        # torch's own words advise to run whatever the file holds.
        raise UsageError(
            f"{path}: holds no weights: it is no file of tensors alone; name another, or none for "
            "the installed one"
        ) from error


class _Shell:
    """A module of the program: what it is called, and what it holds."""

    def __init__(self) -> None:
        self.held: dict[str, Any] = {}

    def __setstate__(self, held: object) -> None:
        self.held = held if isinstance(held, dict) else {}


class _Reader(pickle.Unpickler):
    """`data.pkl`, with the numbers from the files beside it."""

    def __init__(self, file: zipfile.ZipFile) -> None:
        self._file = file
        self._root = next(name for name in file.namelist() if name.endswith("/data.pkl"))
        super().__init__(file.open(self._root))

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        """Whatever may be called here: nothing that acts."""
        if module.partition(".")[0] == "__torch__":
            return _Shell
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in _DTYPES:
            return lambda: _DTYPES[name]
        if module == "torch.jit._pickle" and name.startswith("build_"):
            return list
        raise pickle.UnpicklingError(f"it names {module}.{name}, which no weights need")

    def persistent_load(self, pid: Any) -> torch.Tensor:  # noqa: ANN401 (as pickle has it)
        """A storage: ("storage", kind, file, device, count)."""
        _, kind, key, _, count = pid
        raw = self._file.read(f"{self._root.removesuffix('data.pkl')}data/{key}")
        flat = torch.frombuffer(bytearray(raw), dtype=kind())
        if len(flat) != count:
            raise pickle.UnpicklingError(f"storage {key} is {len(flat)} numbers long, not {count}")
        return flat


def _tensor(storage: torch.Tensor, offset: int, *layout: Any) -> torch.Tensor:  # noqa: ANN401 (as written)
    """As `_rebuild_tensor_v2` would; torch refuses a layout that reaches beyond the storage."""
    size, stride = layout[:2]
    return storage.as_strided(tuple(size), tuple(stride), offset).clone()


def _named(held: object, prefix: str) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(held, torch.Tensor):
        yield prefix, held.detach()
    children = held.held if isinstance(held, _Shell) else held
    if isinstance(children, dict):
        for name, child in children.items():
            yield from _named(child, f"{prefix}.{name}".removeprefix("."))
