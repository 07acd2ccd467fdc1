"""The protocol card: everything that must be equal before two figures of pictures may be compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ditbench.report import words
from ditbench.report.judged import Method, Peers

NOT_RECORDED = "not recorded"
_SHORT = 12  # digits of a sha256 that a person compares by eye
# What stands in the place of a decoder's identity.
_NO_DECODER = {
    "pixels": "none: the latents are the pictures",
    "none": "none: the latents were not decoded",
}
_CHANNELS = {0: "all channels", 3: "the first three channels"}
Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Entry:
    """One line of the card. differs: whether methods disagree, so that their figures must not be compared."""

    title: str
    text: str
    differs: bool = False


@dataclass(frozen=True)
class Card:
    """The card of one set of methods."""

    title: str
    entries: tuple[Entry, ...]


def card(peers: Peers) -> Card:
    """As the records of all methods tell it; where one lacks a line, that is said."""
    judged = [one for one in peers.methods if one.facts]
    return Card(peers.title, tuple(_entry(title, read, judged) for title, read in _LINES))


def _entry(title: str, read: Callable[[Method], str], judged: list[Method]) -> Entry:
    told = list(dict.fromkeys(read(one) or NOT_RECORDED for one in judged))
    return Entry(title, "; or ".join(told) or NOT_RECORDED, differs=len(told) > 1)


def _protocol(name: str) -> Callable[[Method], str]:
    """A line as the record's `protocol` has it."""

    def read(one: Method) -> str:
        found = one.facts.get("protocol", {}).get(name)
        return "" if found is None else f"{found}"

    return read


def _count(one: Method) -> str:
    found = one.facts.get("samples")
    return "" if found is None else words.plural(int(found), "picture") + " a method"


def _references(one: Method) -> str:
    """Name, digest and number of each set of pictures that distances are to."""
    found: Facts = one.facts.get("references", {})
    return "; ".join(_reference(name, of) for name, of in found.items())


def _reference(name: str, of: Facts) -> str:
    if name == "softmax":
        return (
            f"softmax's pictures of the same seeds (image key {of.get('image_key', NOT_RECORDED)})"
        )
    count = of.get("count")
    counted = f", {words.plural(int(count), 'picture')}" if count else ", count not recorded"
    return f"{of.get('name', NOT_RECORDED)}, {_sha(of)}{counted}"


def _extractors(one: Method) -> str:
    return "; ".join(", ".join(parts) for _, parts in _networks(one.facts))


def _networks(facts: Facts) -> Iterator[tuple[str, list[str]]]:
    """Each network that looked at the pictures; older records name one."""
    found = facts.get("extractors") or {
        str(of["name"]): of for of in [facts.get("extractor")] if of
    }
    for name, of in found.items():
        features = f"{of['dim']} features" if of.get("dim") else ""
        yield name, [part for part in (name, _sha(of), features) if part]


def _resize(one: Method) -> str:
    found: Facts = one.facts.get("extractors", {})
    told = [(name, str(of["resize"])) for name, of in found.items() if "resize" in of]
    if len({how for _, how in told}) == 1:
        return told[0][1]
    return "; ".join(f"{name}: {how}" for name, how in told)


def _sha(of: Facts) -> str:
    digest = str(of.get("sha256", ""))
    return f"sha256 {digest[:_SHORT]}" if digest else "sha256 not recorded"


def _shortened(told: str) -> str:
    """A digest of which a person compares the beginning."""
    before, found, digest = told.rpartition("sha256 ")
    return f"{before}{found}{digest[:_SHORT]}" if found else told


def _guidance(one: Method) -> str:
    """Its scale, and what it acts on: the two conventions give different pictures."""
    scale = f"{one.row.cell.sampling.guidance_scale:g}"
    if one.row.cell.sampling.guidance_scale <= 1:
        return f"{scale} (off)"
    channels = one.facts.get("protocol", {}).get("guidance_channels")
    if channels is None:
        return f"{scale}; its channels {NOT_RECORDED}"
    return f"{scale}, on {_CHANNELS.get(channels, f'the first {channels} channels')}"


def _decoder(one: Method) -> str:
    found = str(one.facts.get("protocol", {}).get("vae", ""))
    return _NO_DECODER.get(found, found)


_LINES: tuple[tuple[str, Callable[[Method], str]], ...] = (
    ("pictures", _count),
    ("compared with", _references),
    ("features by", _extractors),
    ("resize", _resize),
    ("sampler", lambda one: one.row.cell.sampling.sampler),
    ("steps", lambda one: str(one.row.cell.steps)),
    ("guidance scale", _guidance),
    ("VAE", _decoder),
    ("dtype", lambda one: one.row.cell.sampling.dtype),
    ("micro-batch", lambda one: str(one.facts.get("micro_batch", ""))),
    ("rounding to 8 bits", _protocol("quantiser")),
    ("seed", lambda one: str(one.row.cell.sampling.seed)),
    ("weights", lambda one: _shortened(str(one.facts.get("weights", "")))),
)
