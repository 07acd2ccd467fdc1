"""Files that a suite names: told by their content, so that a cell's key follows what the file says.

In a record such a value is `path#` and the first twelve hexadecimal digits of the file's sha256.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from ditbench.errors import UsageError

_DIGITS = 12
_SEALED = re.compile(r"#[0-9a-f]{12}$")


def sealed(named: str) -> str:
    """The path with the digest of what is there now. Raises UsageError where there is no file."""
    path = _SEALED.sub("", named)
    return f"{path}#{_digest(_content(path))}"


def content(sealed_name: str) -> bytes:
    """What the file holds. Raises UsageError where it is gone, or no longer what it was when it was named."""
    path, _, wanted = sealed_name.rpartition("#")
    found = _content(path)
    if _digest(found) != wanted:
        raise UsageError(
            f"{path}: is not the file that the suite named ({wanted}, now {_digest(found)}): "
            "run the suite anew"
        )
    return found


def stem(named: str) -> str:
    """The name of a file told by its content, without folder, ending and digest; anything else is itself."""
    path = _SEALED.sub("", named)
    return named if path == named else Path(path).stem


def _content(path: str) -> bytes:
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        there = isinstance(error, FileNotFoundError) and not Path(path).expanduser().is_absolute()
        where = f" in {Path.cwd()}" if there else ""
        raise UsageError(f"{path}: cannot be read: {error.strerror}{where}") from error


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:_DIGITS]
