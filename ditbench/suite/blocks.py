"""Which blocks a selection means: `all`, `first-half`, `second-half`, `5`, `0-13`, `0,1,5`, `0-3,7`.

The only place in the project that knows: blocks are numbered from 0, and ranges hold both ends.
"""

from __future__ import annotations

import re

# No DiT comes near; more is a slip of the pen that would fill memory with numbers.
MOST_BLOCKS = 10_000
_PART = re.compile(r"([0-9]{1,9})(?:\s*-\s*([0-9]{1,9}))?")
_RANGES = r"[0-9]{1,9}(\s*-\s*[0-9]{1,9})?"
# A selection as JSON schema; whether the model has those blocks is found when it is read.
SELECTION = {
    "title": "a selection of blocks",
    "anyOf": [
        {"enum": ["all", "first-half", "second-half"]},
        {"type": "integer", "minimum": 0},
        {
            "type": "string",
            "pattern": rf"^\s*(all|(first|second)-half|{_RANGES}(\s*,\s*{_RANGES})*)\s*$",
        },
    ],
}


def resolve_blocks(selection: str, depth: int) -> tuple[int, ...]:
    """The numbers of the selected blocks of a model of this depth, ascending.

    The first half is the first depth // 2 blocks, the second half all others. Raises ValueError with the
    cause, as a clause.
    """
    if depth > MOST_BLOCKS:
        raise ValueError(f"a model of {depth:,} blocks; at most {MOST_BLOCKS:,}")
    halves = {
        "all": range(depth),
        "first-half": range(depth // 2),
        "second-half": range(depth // 2, depth),
    }
    if selection not in halves:
        return _numbered(selection, depth)
    if not halves[selection]:
        raise ValueError(f"{selection} of a model of depth {depth} has no block")
    return tuple(halves[selection])


def _numbered(selection: str, depth: int) -> tuple[int, ...]:
    chosen: list[int] = []
    for part in selection.split(","):
        chosen += _range(part.strip(), selection, depth)
    if len(set(chosen)) < len(chosen):
        raise ValueError(f"{selection!r} names a block twice")
    return tuple(sorted(chosen))


def _range(part: str, selection: str, depth: int) -> range:
    match = _PART.fullmatch(part)
    if not match:
        raise ValueError(
            f"{selection!r} selects no blocks: write all, first-half, second-half, 5, 0-13 or '0,1,5'"
        )
    first, last = int(match[1]), int(match[2] or match[1])
    if last < first:
        raise ValueError(f"the range {part} runs backwards")
    if last >= depth:
        raise ValueError(f"no block {last} in a model of depth {depth} (0 to {depth - 1})")
    return range(first, last + 1)
