"""Where weights may come from, checked before anything runs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from ditbench.catalog import Catalog, Model
from ditbench.records import Choice
from ditbench.registry import did_you_mean
from ditbench.suite.cursor import At

_HUB = re.compile(r"hub:[\w.-]+/[\w.-]+@[\w./-]+")
_WORDS = ("random", "embedded", "hub")
# Weights as JSON schema: whether a folder is there, and whose weights ship, is found when it is read.
WEIGHTS = {
    "title": "where weights come from",
    "anyOf": [
        {"enum": list(_WORDS)},
        {"type": "string", "pattern": rf"^\s*{_HUB.pattern}\s*$"},
        {"type": "string", "pattern": r"^\s*(?!hub:)\S(.*\S)?\s*$"},
    ],
}

_AUTOENCODER = re.compile(r"hub:[\w.-]+/[\w.-]+(@[\w./-]+)?")
# Where the autoencoder comes from that makes pictures of latents.
VAE = {
    "title": "an autoencoder",
    "anyOf": [
        {"enum": ["own", "none"]},
        {"type": "string", "pattern": rf"^\s*{_AUTOENCODER.pattern}\s*$"},
        {"type": "string", "pattern": r"^\s*(?!hub:)\S(.*\S)?\s*$"},
    ],
}


def vae(at: At) -> str | None:
    """`own`, `none`, `hub:owner/name`, with `@revision` or without, or an existing folder."""
    word = at.text()
    if word is None or word in {"own", "none"} or _AUTOENCODER.fullmatch(word):
        return word
    if word.startswith("hub:"):
        at.wrong(f"{word[:60]!r} is not hub:owner/name or hub:owner/name@revision")
        return None
    if _is_folder(word):
        return word
    at.wrong(f"no folder {word[:60]!r}{_way_out(word, ('own', 'none', 'hub'))}")
    return None


def weights(at: At, models: Iterable[Choice], catalog: Catalog) -> str | None:
    """`random`, `embedded`, `hub`, `hub:owner/name@revision` or an existing folder, for all these models."""
    word = at.text()
    if word is None:
        return None
    wanted = [catalog.models[name] for name in dict.fromkeys(model.name for model in models)]
    if cause := _unreachable(word, wanted):
        at.wrong(cause)
        return None
    return word


def _unreachable(word: str, wanted: list[Model]) -> str:
    if word == "random":
        return ""
    if word == "embedded":
        missing = [model.name for model in wanted if not model.embedded]
        return f"no weights of {', '.join(missing)} ship with ditbench" if missing else ""
    if word == "hub":
        missing = [model.name for model in wanted if not model.hub]
        names = ", ".join(missing)
        return (
            f"no repository is known for {names}: write hub:owner/name@revision" if missing else ""
        )
    if word.startswith("hub:"):
        return "" if _HUB.fullmatch(word) else f"{word[:60]!r} is not hub:owner/name@revision"
    return "" if _is_folder(word) else f"no folder {word[:60]!r}{_way_out(word, _WORDS)}"


def _way_out(word: str, known: tuple[str, ...]) -> str:
    if "/" in word or word.startswith((".", "~")):
        return f" (looked for from {Path.cwd()}, where ditbench was started)"
    return did_you_mean(word[:60], known) or f": {', '.join(known)}, or an existing folder"


def _is_folder(word: str) -> bool:
    try:
        return Path(word).expanduser().is_dir()
    except (OSError, ValueError, RuntimeError):  # too long a name, a null character, no such user
        return False
