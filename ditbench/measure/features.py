"""Features of a method's pictures: taken once by each network, and kept beside the pictures.

They are a cache: whatever is missing, torn, or of other pictures is taken again. Softmax's are looked at for
every other method, and are taken for the first.
"""

from __future__ import annotations

import contextlib
import dataclasses
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ditbench.extractors.base import Features, Identity, Opened
from ditbench.records import digest
from ditbench.store.disk import replacing
from ditbench.store.pictures import Shards

Say = Callable[[str], None]
# Pictures that a network is shown between two words to whoever waits.
BATCH = 128
_PARTS = tuple(field.name for field in dataclasses.fields(Features))
_UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


def of_shards(shards: Shards, network: Opened, say: Say) -> Features:
    """Of all pictures of a method, (count, ...) each. Raises UsageError where the network cannot see them."""
    path = _file(shards.folder, network.identity)
    key = digest([shards.key, shards.count, identity_of(network.identity)])
    if kept := _read(path, key):
        return kept
    name = network.identity.name
    found = of_batches(network, _told(shards.batches(BATCH), name, shards.count, say))
    with replacing(path) as file:
        arrays: dict[str, Any] = {"key": np.array(key), **_present(found)}
        np.savez(file, **arrays)
    return found


def of_batches(network: Opened, batches: Iterable[NDArray[np.uint8]]) -> Features:
    """Of uint8 pictures (n, height, width, 1 or 3), some at a time."""
    return joined([network.features(images) for images in batches])


def joined(parts: list[Features]) -> Features:
    """One after the other."""
    columns: dict[str, Any] = {}
    for name in _PARTS:
        several = [getattr(part, name) for part in parts]
        columns[name] = None if several[0] is None else np.concatenate(several)
    return Features(**columns)


def identity_of(identity: Identity) -> dict[str, Any]:
    """What a record tells of a network: all but its name."""
    return {k: v for k, v in dataclasses.asdict(identity).items() if k != "name"}


def _file(folder: Path, identity: Identity) -> Path:
    """In a folder of its own, because every `.npz` beside the shards is a shard."""
    return folder / "features" / f"{identity.name}-{digest(identity_of(identity))[:8]}.npz"


def _read(path: Path, key: str) -> Features | None:
    with contextlib.suppress(*_UNREADABLE), path.open("rb") as raw:
        file = np.load(raw, allow_pickle=False)
        if str(file["key"]) == key:
            held: dict[str, Any] = {name: file[name] for name in _PARTS if name in file}
            return Features(**held)
    return None


def _present(found: Features) -> dict[str, NDArray[np.float32]]:
    parts = ((name, getattr(found, name)) for name in _PARTS)
    return {name: part for name, part in parts if part is not None}


def _told(
    batches: Iterable[NDArray[np.uint8]], name: str, count: int, say: Say
) -> Iterator[NDArray[np.uint8]]:
    """Says how far it is, batch by batch."""
    for number, batch in enumerate(batches):
        say(f"{name}: picture {number * BATCH} of {count}")
        yield batch
