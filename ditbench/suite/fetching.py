"""A file that a suite names by its address: fetched once, kept beside others, and never taken on trust.

What was fetched lies in a folder under the digest of its address. Without a network that copy is used; it is
fetched again only where that is asked for, and then a copy that is old is no answer.
"""

from __future__ import annotations

import hashlib
import tempfile
from http.client import HTTPException
from pathlib import Path
from urllib import request
from urllib.parse import urlsplit

from ditbench import __version__
from ditbench.errors import UsageError, one_line

CACHE = "~/.cache/ditbench/prompts"
# Bytes of a list of prompts: more is another file than was meant.
MOST_BYTES = 16 * 2**20
_TIMEOUT_S = 20.0
_SCHEMES = ("http", "https")
# What an address may lead to, and no other: no file of this machine, no other protocol.
_HANDLERS = (
    request.ProxyHandler,
    request.HTTPHandler,
    request.HTTPSHandler,
    request.HTTPDefaultErrorHandler,
    request.HTTPRedirectHandler,
    request.HTTPErrorProcessor,
)


def fetched(url: str, folder: Path, *, refresh: bool = False) -> bytes:
    """What an address holds, from the folder where it is there. Raises UsageError in one line."""
    if urlsplit(url).scheme not in _SCHEMES:
        raise UsageError(f"{url[:200]!r} is no address: write http:// or https://")
    path = kept_at(url, folder)
    if path.is_file() and not refresh:
        return bounded(path)
    found = _asked(url, "leave refresh out for the copy of earlier" if path.is_file() else "")
    try:
        _keep(path, found)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written ({error.strerror}): give cache") from error
    return found


def kept_at(url: str, folder: Path) -> Path:
    """Where an address is kept."""
    return folder.expanduser() / hashlib.sha256(url.encode()).hexdigest()[:16]


def bounded(path: Path) -> bytes:
    """A file that is not too large. Raises UsageError."""
    try:
        with path.open("rb") as file:
            found = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    return _small(found, str(path))


def _small(found: bytes, named: str) -> bytes:
    if len(found) > MOST_BYTES:
        raise UsageError(f"{named}: more than {MOST_BYTES >> 20} MiB")
    return found


def _asked(url: str, way_out: str) -> bytes:
    asker = request.OpenerDirector()
    for handler in _HANDLERS:
        asker.add_handler(handler())
    asking = request.Request(url, headers={"User-Agent": f"ditbench/{__version__}"})  # noqa: S310 (the scheme was looked at)
    try:
        with asker.open(asking, timeout=_TIMEOUT_S) as answer:
            found: bytes = answer.read(MOST_BYTES + 1)
    except (OSError, HTTPException, ValueError) as error:
        hint = way_out or "download it once with network, or write file"
        raise UsageError(f"{url}: cannot be fetched ({one_line(str(error))}): {hint}") from error
    return _small(found, url)


def _keep(path: Path, found: bytes) -> None:
    """Whole or not at all: whoever fetches beside us writes the same name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(found)
    Path(file.name).replace(path)
