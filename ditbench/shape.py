"""What may stand in a results file, field by field, so that whoever reads it computes without asking again.

JSON knows neither a record's fields nor their kinds: a file that a person edited, or another program
wrote, is held against the tables here when it is read, and refused with the field and what it must be.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice, repeat
from string import ascii_letters
from typing import Any

from ditbench.errors import UNPRINTABLE

_MOST = 2**63 - 1
_MOST_BLOCKS = 10_000
_NOT_FINITE = frozenset({"nan", "inf", "-inf"})


@dataclass(frozen=True)
class Kind:
    """What a field must be: in words, and as a test."""

    said: str
    fits: Callable[[Any], bool]


def _whole(value: object, least: int = -_MOST) -> bool:
    return type(value) is int and least <= value <= _MOST


def _finite(value: object) -> bool:
    return _whole(value) or (isinstance(value, float) and math.isfinite(value))


def _number(value: object) -> bool:
    return _whole(value) or isinstance(value, float) or value in _NOT_FINITE


def _scalar(value: object) -> bool:
    return isinstance(value, bool) or _line(value) or _finite(value)


def _optional(**parts: Callable[[Any], bool]) -> Callable[[Any], bool]:
    def fits(value: object) -> bool:
        return isinstance(value, Mapping) and all(
            part(value[name]) for name, part in parts.items() if name in value
        )

    return fits


def _or_none(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or fits(value)


def _range(value: object) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(map(_finite, value))


def _trial(value: object) -> bool:
    """Batch, outcome, bytes at the peak, and what else is told."""
    return (
        isinstance(value, list)
        and len(value) >= 3
        and _whole(value[0])
        and _line(value[1])
        and (value[2] is None or _finite(value[2]))
    )


def _excluded(value: object) -> bool:
    """The place of a call, and a reason."""
    return isinstance(value, list) and len(value) == 2 and _whole(value[0], 0) and _line(value[1])


def _point(value: object) -> bool:
    """A number of pictures, and a value."""
    return isinstance(value, list) and len(value) == 2 and _whole(value[0], 1) and _number(value[1])


def _text(value: object) -> bool:
    return isinstance(value, str)


def _line(value: object) -> bool:
    return isinstance(value, str) and not UNPRINTABLE.search(value)


def _blocks(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= _MOST_BLOCKS
        and set(map(type, value)) <= {int}
        and min(value, default=0) >= 0
        and max(value, default=0) < _MOST_BLOCKS
    )


def _every(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(fits, value))


def _all(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, Mapping) and all(map(fits, value.values()))


def _with(**parts: Callable[[Any], bool]) -> Callable[[Any], bool]:
    def fits(value: object) -> bool:
        return isinstance(value, Mapping) and all(
            name in value and part(value[name]) for name, part in parts.items()
        )

    return fits


TEXT = Kind("text", _text)
LINE = Kind("one line of text", _line)
FLAG = Kind("true or false", lambda value: isinstance(value, bool))
WHOLE = Kind("a whole number of 64 bits", _whole)
COUNT = Kind("a whole number from 0", lambda value: _whole(value, 0))
POSITIVE = Kind("a whole number from 1", lambda value: _whole(value, 1))
FINITE = Kind("a finite number", _finite)
NUMBER = Kind("a number", _number)
OBJECT = Kind("an object", lambda value: isinstance(value, Mapping))
LIST = Kind("a list", lambda value: isinstance(value, list))
TEXTS = Kind("a list of text", _every(_line))
RATES = Kind("a list of numbers above 0", _every(lambda value: _finite(value) and value > 0))
SCALARS = Kind("an object of numbers, lines of text and flags", _all(_scalar))

CHOICE = {"name": LINE, "label": LINE, "settings": SCALARS}
OP = {"tokens": POSITIVE, "heads": POSITIVE, "head_dim": POSITIVE, "cache": LINE}
SAMPLING = {
    "sampler": LINE,
    "guidance_scale": FINITE,
    "guidance_channels": COUNT,
    "dtype": LINE,
    "seed": WHOLE,
}
SHOWN = {
    "kind": Kind("classes or prompts", lambda value: value in {"classes", "prompts"}),
    "label": LINE,
    "digest": LINE,
    "count": POSITIVE,
}
CELL = {
    "model": OBJECT,
    "attention": OBJECT,
    "accelerator": OBJECT,
    "sampling": OBJECT,
    "weights": LINE,
    "blocks": Kind(f"a list of numbers of blocks, from 0 and below {_MOST_BLOCKS:,}", _blocks),
    "blocks_label": LINE,
    "compile": FLAG,
    "batch_size": COUNT,
    "steps": POSITIVE,
    "shown": OBJECT,
}
_MAYBE = Kind("a whole number or nothing", _or_none(_whole))
_WARMUP = Kind(
    "how the warm-up ended",
    _with(stable=lambda value: value in {None, True, False}, unmet=_or_none(_line), cap_s=_finite),
)
_STOPPING = Kind(
    "how the timed calls ended",
    lambda value: (
        _with(by=_line, precision=_or_none(_finite))(value)
        and _optional(unmet=_or_none(_line))(value)
    ),
)
_ENERGY = Kind(
    "joules with their source, or why there are none",
    lambda value: (
        _optional(joules=_finite, source=_line, disagreement=_finite, missing=_line)(value)
        and ("joules" not in value or "source" in value)
    ),
)
_SHARES = dict.fromkeys(
    ("window_s", "slowed_share", "power_capped", "foreign_share", "others"), _finite
)
_RANGES = dict.fromkeys(("sm_clock", "memory_clock", "frequency", "temperature", "power"), _range)
_TELEMETRY = Kind(
    "what the machine did",
    lambda value: (
        value == {}
        or (
            _with(samples=_whole)(value)
            and _optional(
                foreign=_every(_line),
                slowed=_all(_finite),
                memory_of_others=_whole,
                throttled=_whole,
                **_SHARES,
                **_RANGES,
            )(value)
        )
    ),
)


def _reason(value: object) -> bool:
    """Words, whether the forward spared anything, and how many forwards there were of it."""
    return (
        isinstance(value, list)
        and len(value) == 3
        and _line(value[0])
        and isinstance(value[1], bool)
        and _whole(value[2], 0)
    )


def _reuse(value: object) -> bool:
    """Counts, reasons, and a row of letters a site, each letter a reason's; what else it may tell."""
    counted = _with(
        forwards=lambda count: _whole(count, 0),
        reused=lambda count: _whole(count, 0),
        reasons=_every(_reason),
        map=_all(_line),
    )
    told = _optional(drift=_every(_number), gate_share=_finite, sqnr=_all(_finite))
    if not (isinstance(value, Mapping) and counted(value) and told(value)):
        return False
    known = islice(lettered(), len(value["reasons"]))
    return set("".join(value["map"].values())) <= set(known)


def lettered() -> Iterator[str]:
    """A letter for each reason of decisions in order, and one sign for all after the fifty-second."""
    return chain(ascii_letters, repeat("?"))


# Facts that somebody computes with; whatever else a record tells is only shown.
FACTS = {
    "exact": FLAG,
    "core_only": FLAG,
    "own_numbers": COUNT,
    "replaced_macs": Kind(
        "multiply-adds of core and projections", _with(core=_finite, projections=_finite)
    ),
    "knob_digest": LINE,
    "kernels": TEXTS,
    "uncounted": TEXTS,
    "sites": TEXTS,
    "remarks": TEXTS,
    "simulated": LINE,
    "unpictured": LINE,
    "own_formulas": TEXTS,
    "parameters": COUNT,
    "numeric_error": NUMBER,
    "numeric_tolerance": Kind("a number above 0", lambda value: _finite(value) and value > 0),
    "latent_error": NUMBER,
    "rerun_error": NUMBER,
    "attention_effect": NUMBER,
    "calls": COUNT,
    "expected_calls": COUNT,
    "replicates_skipped": COUNT,
    "constant_share": NUMBER,
    "pictures": LINE,
    "replaced": LINE,
    "taken_from": LINE,
    "loop_s": FINITE,
    "samples": COUNT,
    "micro_batch": COUNT,
    "weights": LINE,
    "shown": Kind(
        "an object with the first things that samples show",
        _with(first=lambda value: isinstance(value, list)),
    ),
    "gpu_uuid": LINE,
    "fails": _MAYBE,
    "memory_limit": _MAYBE,
    "calls_together": POSITIVE,
    "flushed_bytes": COUNT,
    "matrix_rates": RATES,
    "bandwidths": RATES,
    "reuse": Kind(
        "forwards, how many spared something, reasons, and a letter of a reason for each step of a site",
        _reuse,
    ),
    "wavering": Kind("a list of whole numbers", _every(_whole)),
    "trials": Kind("a list of trials", _every(_trial)),
    "phase_s": Kind("an object of seconds", _all(_finite)),
    "warmup": _WARMUP,
    "stopping": _STOPPING,
    "energy": _ENERGY,
    "telemetry": _TELEMETRY,
    "replay_beside": Kind(
        "a list of seconds above 0", _every(lambda value: _finite(value) and value > 0)
    ),
    "calls_ns": Kind("a list of nanoseconds", _every(lambda value: _whole(value, 0))),
    "excluded": Kind("a list of [call, why it does not count]", _every(_excluded)),
    "image_key": LINE,
    "extractor": Kind("an object with name and sha256", _with(name=_line, sha256=_line)),
    "paired": Kind(
        "an object of changes with their errors", _all(_with(change=_number, error=_number))
    ),
    "extractors": Kind(
        "an object of networks with sha256, dim and resize",
        _all(_with(sha256=_line, dim=_whole, resize=_line)),
    ),
    "references": Kind(
        "an object of what pictures are compared with",
        _all(_optional(name=_line, sha256=_line, count=_whole, image_key=_line)),
    ),
    "errors": Kind("an object of standard errors", _all(_number)),
    "by_count": Kind("an object of lists of [count, value]", _all(_every(_point))),
    "protocol": SCALARS,
    "unmeasured": TEXTS,
    "arm": Kind("a or b", lambda value: value in {"a", "b"}),
    "process": COUNT,
    "witness": LINE,
}
RECORD = {
    "cell": OBJECT,
    "replicate": COUNT,
    "reason": TEXT,
    "metrics": OBJECT,
    "warmups": OBJECT,
    "facts": OBJECT,
    "started": LINE,
    "seconds": Kind(
        "from 0 to thirty years of them", lambda value: _finite(value) and 0 <= value <= 1e9
    ),
    "environment": LINE,
    "code": LINE,
}
_EFFORT = _optional(
    timing=_optional(processes=COUNT.fits),
    quality=_optional(samples=COUNT.fits, shard=POSITIVE.fits),
    metrics=TEXTS.fits,
    quick=TEXTS.fits,
)
CLAIM = {
    "metric": LINE,
    "value": FINITE,
    "tolerance": FINITE,
    "source": TEXT,
    "per": LINE,
    "where": SCALARS,
}
# What a claim of an earlier version lacks.
_CLAIM = _optional(
    cell=LINE.fits,
    other=LINE.fits,
    against=SCALARS.fits,
    needs=LINE.fits,
    at_least=FLAG.fits,
)
AGAINST = {"name": LINE, "run": LINE, "required": FLAG}
VERDICT = {"exit_codes": Kind("a list of whole numbers", _every(_whole))}
ARM = {"said": LINE, "code": OBJECT, "environment": SCALARS}
SESSION = {
    "suite": LINE,
    "suite_path": LINE,
    "started": LINE,
    "arms": Kind("two arms", lambda value: isinstance(value, list) and len(value) == 2),
    "inside": FLAG,
    "pairs": Kind(
        "a list of pairs of cells",
        _every(lambda one: isinstance(one, list) and len(one) == 2),
    ),
    "gate": Kind("an object of finite numbers", _all(_finite)),
    "effort": OBJECT,
}
_DAY = Kind(
    "a day as 2026-11-22, or nothing",
    lambda value: (
        isinstance(value, str) and re.fullmatch(r"(\d{4}-\d{2}-\d{2})?", value) is not None
    ),
)
ADMISSION = {
    "admitted": _DAY,
    "expires": _DAY,
    "promoted_from": LINE,
    "because": LINE,
    "provisional": FLAG,
    "floors": LINE,
}
FLOOR = {"id": LINE, "inside": NUMBER, "apart": NUMBER, "processes": POSITIVE}
NOISE = {
    "suite": LINE,
    "started": LINE,
    "environment": SCALARS,
    "code": OBJECT,
    "floors": Kind(
        "an object of floors by cell and metric",
        _all(lambda one: isinstance(one, Mapping)),
    ),
}
HEAD = {
    "id": LINE,
    "run": LINE,
    "suite": LINE,
    "suite_path": LINE,
    "suite_text": TEXT,
    "command": TEXT,
    "started": LINE,
    "finished": FLAG,
    "stopped": LINE,
    "selected": TEXT,
    "environment": SCALARS,
    "code": OBJECT,
    "planned": LIST,
    "effort": Kind("what the suite asked for", _EFFORT),
    "origins": Kind("a list of objects", _every(lambda one: isinstance(one, Mapping))),
    "written": Kind("a whole number from 0", lambda value: value is None or _whole(value, 0)),
    "gate": Kind("an object of finite numbers", _all(_finite)),
    "claims": Kind(
        "a list of claims",
        lambda value: (
            isinstance(value, list)
            and all(
                _with(**{name: kind.fits for name, kind in CLAIM.items()})(one) and _CLAIM(one)
                for one in value
            )
        ),
    ),
}


def check(plain: object, kinds: Mapping[str, Kind], where: str = "") -> None:
    """Hold the fields that are there against their kinds. Raises ValueError with the first that is wrong."""
    if not isinstance(plain, Mapping):
        raise ValueError(f"{where or 'the line'} must be an object, not {shown(plain)}")  # noqa: TRY004 (wrong data, not wrong code)
    for name, kind in kinds.items():
        if name in plain and not kind.fits(plain[name]):
            field = f"{where}.{name}" if where else name
            raise ValueError(f"{field} must be {kind.said}, not {shown(plain[name])}")


def values(plain: object, where: str) -> tuple[float, ...]:
    """Raw values in order. Raises ValueError for what is no list of numbers."""
    if isinstance(plain, list) and set(map(type, plain)) <= {float}:  # nearly always, and at once
        return tuple(plain)
    if not isinstance(plain, list) or not all(map(_number, plain)):
        raise ValueError(f"{where} must be a list of numbers, not {shown(plain)}")
    return tuple(map(float, plain))


def shown(value: object) -> str:
    """A value as part of a message, cut where it is long."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _MOST:
        return "a number beyond 64 bits"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
