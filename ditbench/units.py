"""How numbers look to a person: base units inside, a prefix and three digits outside."""

from __future__ import annotations

import math
import re

_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
_SMALL = ((1.0, "s"), (1e-3, "ms"), (1e-6, "\N{MICRO SIGN}s"), (1e-9, "ns"))
# "4 GiB", "500 MB"; a regular expression that editors understand too.
SIZE = r"([0-9]+(?:\.[0-9]+)?)\s*([kKMGT]i?)?B"
_LONG = 1e9  # seconds, thirty years: beyond it no clock has run
_DURATION = "".join(rf"(?:([0-9]+(?:\.[0-9]+)?)\s*{unit}\s*)?" for unit in "hms")
_BARE = frozenset({"ratio", "distance", "score"})
_POWERS = {"": 0, "k": 1, "M": 2, "G": 3, "T": 4}
_BINARY = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "B"))


def digits(value: float, significant: int = 3) -> str:
    """A number with so many significant digits and no exponent where it can be helped."""
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    places = significant - 1 - math.floor(math.log10(abs(value)))
    return f"{value:.{max(0, places)}f}" if -13 <= places < 8 else f"{value:.2e}"


def count(value: float, unit: str = "") -> str:
    """3.44e9, "MAC" -> "3.44 GMAC"."""
    size = abs(value)
    factor, prefix = next(((f, p) for f, p in _PREFIXES if size >= f), (1.0, ""))
    return f"{digits(value / factor)} {prefix}{unit}".rstrip()


def seconds(value: float) -> str:
    """0.0123 -> "12.3 ms"; from two minutes on, "3 min 20 s"."""
    if 120 <= abs(value) < _LONG:
        minutes, rest = divmod(round(value), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
    factor, unit = next(((f, u) for f, u in _SMALL if abs(value) >= f), _SMALL[-1])
    return f"{digits(value / factor)} {unit}"


def size(value: float) -> str:
    """Bytes in powers of 1024: 5242880 -> "5.00 MiB"."""
    factor, unit = next(((f, u) for f, u in _BINARY if abs(value) >= f), (1, "B"))
    return f"{digits(value / factor)} {unit}"


def parse_size(text: str) -> int | None:
    """Bytes: "4 GiB" -> 4294967296, "500 MB" -> 500000000; None for anything else."""
    if not (match := re.fullmatch(SIZE, text.strip())):
        return None
    prefix = match[2] or ""
    base = 1024 if prefix.endswith("i") else 1000
    factor: int = base ** _POWERS[prefix[:1].replace("K", "k")]
    return round(float(match[1]) * factor)


def parse_seconds(text: str) -> float | None:
    """Seconds: "90s", "30m", "1h30m", "2 h"; None for anything else, a number without a unit too."""
    match = re.fullmatch(_DURATION, text.strip())
    if not match or not any(match.groups()):
        return None
    return sum(
        float(part) * unit for part, unit in zip(match.groups(), (3600, 60, 1), strict=True) if part
    )


def percent(share: float, *, signed: bool = False) -> str:
    """0.0213 -> "2.13 %"; signed: "+2.13 %"; what is negative has the sign for minus."""
    sign = "\N{MINUS SIGN}" if share < 0 else "+" if signed and share > 0 else ""
    return f"{sign}{digits(abs(100 * share))} %"


def of(value: float, unit: str) -> str:
    """A value in its unit: 0.0123, "s" -> "12.3 ms"; of what has no word, digits alone."""
    if not math.isfinite(value):
        return f"{value} {unit}"
    if unit in {"s", "B"}:
        return seconds(value) if unit == "s" else size(value)
    return digits(value) if unit in _BARE else count(value, unit)
