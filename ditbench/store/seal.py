"""JSON with a checksum in front: a digit that changed after it was written is found.

`{"sum": "0a1b2c3d",` and then the text as it was. The sum is crc32 over the bytes of the text without
the sum, so that checking it costs no second serialisation.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

from ditbench import shape
from ditbench.store.schema import check_schema, lifted

_SUM = "sum"
_SEAL = re.compile(rb'\{"sum": "([0-9a-f]{8})",')
_SEALED_SINCE = 2
# The escape of a character beyond U+FFFF is two halves; where one stands alone, nothing can print it.
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")


def sealed(
    plain: Mapping[str, Any],
    *,
    indent: int | None = None,
    sort_keys: bool = False,
    close: bool = False,
) -> str:
    """These fields as JSON with their checksum. close: without spaces, where a file is to be small.

    Raises ValueError for numbers that are not finite.
    """
    text = json.dumps(
        dict(plain),
        indent=indent,
        sort_keys=sort_keys,
        allow_nan=False,
        separators=(",", ":") if close else None,
    )
    return f'{{"sum": "{zlib.crc32(text.encode()):08x}",{text[1:]}'


def unsealed(data: bytes, empty: re.Pattern[bytes] | None = None) -> dict[str, Any]:
    """The fields, lifted to the present schema, without their checksum. Raises one of many errors.

    Files of schema 1 have no checksum. empty: lists that nobody asks for, as `lists` finds them: they are
    read as empty ones, which takes a tenth of the time; the checksum is that of the whole line.
    """
    plain = _object(empty.sub(rb"\1[]", data) if empty else data)
    check_schema(plain)
    if plain["schema"] >= _SEALED_SINCE:
        _check(data.rstrip(b"\n"), plain)
    return lifted({name: value for name, value in plain.items() if name != _SUM})


def lists(names: Iterable[str]) -> re.Pattern[bytes]:
    """Where lists of numbers by these names stand in sealed text; in a text the quotes are escaped."""
    told = "|".join(map(re.escape, names))
    return re.compile(rf'("(?:{told})": )\[[^][]*\]'.encode())


def _object(data: bytes) -> dict[str, Any]:
    plain = json.loads(data.decode())
    if not isinstance(plain, dict):
        raise ValueError(f"must be an object, not {shape.shown(plain)}")  # noqa: TRY004 (wrong data)
    if _HALF.search(data):
        json.dumps(plain, ensure_ascii=False).encode()  # half a surrogate pair is no character
    return plain


def _check(data: bytes, plain: Mapping[str, Any]) -> None:
    seal = _SEAL.match(data)
    if seal is None:
        raise ValueError("lacks its checksum: it was not written by ditbench, or changed since")
    found = f"{zlib.crc32(data[seal.end() :], zlib.crc32(b'{')):08x}"
    if found != seal[1].decode():
        raise ValueError(
            f"its checksum is {found}, but {plain[_SUM]} was written: "
            "the line was changed or damaged since"
        )
