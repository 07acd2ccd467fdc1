"""Which schemas can be read, and how what was written in an older one becomes the present one.

The history stands in `ditbench.records`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from ditbench.records import SCHEMA

Plain = dict[str, Any]


def _from_1(plain: Plain) -> Plain:
    """Schema 1 said the same with fewer words: the checksum is put on by whoever writes.

    A head without `effort` and `written` means that the run did not keep them.
    """
    return plain | {"schema": 2}


def _from_2(plain: Plain) -> Plain:
    """Schema 2 said the same of runs; a baseline's lines are told apart by what stands on them."""
    return plain | {"schema": 3}


# From this schema to the next, for heads and records alike; each works on plain data.
MIGRATIONS: Mapping[int, Callable[[Plain], Plain]] = MappingProxyType({1: _from_1, 2: _from_2})
_OLDEST = min(MIGRATIONS, default=SCHEMA)


def check_schema(plain: Mapping[str, Any]) -> None:
    """Pass the present schema and those that can be lifted to it. Raises ValueError for any other."""
    schema = plain["schema"]
    if type(schema) is not int:
        raise ValueError(f"schema {schema!r} is no number")
    if schema > SCHEMA:
        raise ValueError(
            f"schema {schema}, but this ditbench reads up to {SCHEMA}: update ditbench"
        )
    if schema < _OLDEST:
        raise ValueError(f"schema {schema}, but the first that ditbench reads is {_OLDEST}")


def lifted(plain: Plain) -> Plain:
    """The same in the present schema."""
    while plain["schema"] < SCHEMA:
        plain = MIGRATIONS[plain["schema"]](plain)
    return plain
