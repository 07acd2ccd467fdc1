"""Why a figure may mean less than it seems, as clauses for people."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

from ditbench import machine, units
from ditbench.metrics import ROUNDING
from ditbench.records import Cell, Scalar
from ditbench.summary import arms, pictures
from ditbench.summary.evidence import Evidence
from ditbench.summary.reuse import reuse
from ditbench.summary.speed import YARDSTICKS, Group, Speed

# What doubts about a speed-up above its bound, and about a memory that was never used, begin with.
IMPLAUSIBLE, IDLE = "implausible", "reuses nothing"
# Between the names of several knobs.
_AND = " and "
# A latency whose interval is wider than this share of it is not known well enough to rank methods by.
_WIDE = 0.10
# One process tells nothing of how processes differ, which those of small cells do by so much.
_OF_ONE = 0.10


@dataclass(frozen=True)
class Twin:
    """Another cell whose `outputs` ("pictures", ...) are bit-identical.

    alive: whether each setting in which the two differ changes the outputs of other cells.
    """

    cell: Cell
    outputs: str
    alive: bool = False


@dataclass(frozen=True)
class Suspect:
    """What doubts look at: a cell, its ratios and group, a cell of bit-identical outputs, its lacks."""

    evidence: Evidence
    speed: Speed
    group: Group
    twin: Twin | None
    lacks: str


def doubts(suspect: Suspect) -> tuple[str, ...]:
    """All doubts about one cell; empty means none."""
    found = tuple(clause for find in _DOUBTS if (clause := find(suspect)))
    return found + machine.doubts(suspect.evidence.times)


def twins(cells: Iterable[Evidence]) -> Mapping[str, Twin]:
    """By quality key: the first cell with bit-identical outputs that differs in settings or blocks only.

    Pictures decide where both have them; else what came out of the gate, which every cell passes.
    Of exact methods no setting can move a picture by more than rounding, and the kernels seen running
    tell them apart; they are left out. So is a setting by which other work was seen to give the same result.
    """
    of_pictures, of_gates, pictured = _Alike(), _Alike(), set()
    for one in cells:
        if one.exact:
            continue
        if one.pictures and "knob_digest" in one.pictures.facts:
            of_pictures.add(str(one.pictures.facts["knob_digest"]), one)
            pictured.add(one.cell.quality_key)
        if "knob_digest" in one.facts:
            of_gates.add(str(one.facts["knob_digest"]), one)
    short = of_gates.twins("outputs of the gate's run", lambda pair: not pair <= pictured)
    return short | of_pictures.twins("pictures", lambda _pair: True)


_Rest = tuple[str, str, object]


class _Alike:
    """Cells by the digest of what they made, each quality key once."""

    def __init__(self) -> None:
        self._makers: dict[str, dict[str, Evidence]] = defaultdict(dict)

    def add(self, digest: str, maker: Evidence) -> None:
        """A cell that made this."""
        self._makers[digest].setdefault(maker.cell.quality_key, maker)

    def twins(self, outputs: str, counts: Callable[[set[str]], bool]) -> dict[str, Twin]:
        """By quality key the first other that differs in a knob. counts: whether two keys may be told."""
        found = {}
        alive = self._alive()
        for same in self._makers.values():
            for key, one in same.items():
                others = (
                    other.cell
                    for at, other in same.items()
                    if at != key and counts({at, key}) and knob(one.cell, other.cell)
                    if _work(one) == _work(other)
                )
                if other := next(others, None):
                    names = knob(one.cell, other).split(_AND)
                    found[key] = Twin(
                        other, outputs, all((one.cell.family, n) in alive for n in names)
                    )
        return found

    def _alive(self) -> set[tuple[str, str]]:
        """Knobs by family that are seen to change outputs: cells that differ in one alone made others."""
        made: dict[_Rest, dict[object, set[str]]] = defaultdict(lambda: defaultdict(set))
        for digest, makers in self._makers.items():
            for one in makers.values():
                for name, value, rest in _rests(one.cell):
                    made[one.cell.family, name, rest][value].add(digest)
        return {
            (family, name)
            for (family, name, _), by_value in made.items()
            # Cells of other batch sizes make others too: of two values no output may be common.
            if any(one.isdisjoint(other) for one, other in combinations(by_value.values(), 2))
        }


def _work(of: Evidence) -> tuple[object, ...]:
    """What the gate saw being done at one site: multiply-adds as counted, and kernels."""
    return of.facts.get("counted_core_macs"), tuple(of.facts.get("kernels", ()))


def knob(one: Cell, other: Cell) -> str:
    """The only thing in which two cells' pictures could differ: settings of one family, or `blocks`."""
    mine, theirs = settings(one), settings(other)
    if one.family != other.family or _elsewhere(one) != _elsewhere(other):
        return ""
    names = [name for name in mine if mine[name] != theirs.get(name)]
    if names and one.blocks == other.blocks:
        return _AND.join(names)
    return "blocks" if one.blocks != other.blocks and not names else ""


def settings(cell: Cell) -> dict[str, Scalar]:
    """Of its method, and of its accelerator where it has one."""
    own = {f"accelerator.{name}": value for name, value in cell.accelerator.settings}
    return dict(cell.attention.settings) | own


def _rests(cell: Cell) -> Iterator[tuple[str, object, object]]:
    """Each knob with its value, and everything else that pictures depend on."""
    own, elsewhere = tuple(settings(cell).items()), _elsewhere(cell)
    for at, (name, value) in enumerate(own):
        yield name, value, (own[:at], own[at + 1 :], cell.blocks, elsewhere)
    yield "blocks", cell.blocks, (own, elsewhere)


def _elsewhere(cell: Cell) -> tuple[object, ...]:
    return (str(cell.model.identity), cell.weights, cell.steps, cell.sampling)


def _implausible(suspect: Suspect) -> str:
    """Beyond both intervals: no noise of either explains it."""
    speedup, bound = suspect.speed.speedup, suspect.speed.bound
    if speedup is None or bound is None or suspect.evidence.cell.family in YARDSTICKS:
        return ""
    alone = min(speedup.processes, bound.processes) == 1
    beyond = speedup.low / bound.high - 1
    if beyond <= (_OF_ONE if alone else 0):
        return ""
    usual = (
        "no model is slower without attention, so the bound's own times were disturbed"
        if bound.high < 1
        else "usually another dtype, other shapes or another axis in one arm, or work that was skipped"
    )
    return (
        f"{IMPLAUSIBLE}: speed-up {units.digits(speedup.value)} (at least {units.digits(speedup.low)}) above "
        f"the bound {units.digits(bound.value)} (at most {units.digits(bound.high)}) measured with "
        f"{suspect.speed.bound_by}, by {units.percent(beyond)} beyond both intervals; {usual}"
    )


def _beside_unfit(suspect: Suspect) -> str:
    """A ratio is no better than the other time in it."""
    evidence, group = suspect.evidence, suspect.group
    if not evidence.times:
        return ""
    others = (group.fastest, group.softmax, group.bound(evidence))
    reasons = {one.cell.method: one.unfit for one in others if one and one is not evidence}
    told = (
        f"{label}, whose times must not be used: {why}" for label, why in reasons.items() if why
    )
    against = "; ".join(told)
    return f"its ratios rest on {against}" if against else ""


def _inexact(suspect: Suspect) -> str:
    drift = suspect.evidence.estimates.get("latent_drift")
    allowed = ROUNDING.get(suspect.evidence.cell.sampling.dtype, 0.0)
    if not suspect.evidence.exact or drift is None or drift.value <= allowed:
        return ""
    return f"declared exact, but its latents drift {units.digits(drift.value)} from softmax's"


def _dead_knob(suspect: Suspect) -> str:
    twin = suspect.twin
    if twin is None:
        return ""
    name = knob(suspect.evidence.cell, twin.cell)
    there = twin.cell.blocks_label if name == "blocks" else twin.cell.method
    does = "change" if _AND in name or name == "blocks" else "changes"
    # What works elsewhere is read: between these two values it may have nothing to do.
    way = "here" if twin.alive else "(see that the method reads it, or leave it out)"
    return f"{twin.outputs} bit-identical to {there}: {name} {does} nothing {way}"


def _idle(suspect: Suspect) -> str:
    """A method with memory that never used it."""
    evidence = suspect.evidence
    found = reuse(evidence)
    if found is None or found.reused:
        return ""
    core = dict(evidence.cell.attention.settings).get("core", "")
    of = f"its core{core and f', {core}'}"
    if evidence.cell.is_accelerated:
        of = f"{evidence.cell.attention.label} alone"
    return f"{IDLE} in {found.forwards} forwards: its speed is that of {of}"


def _constant(suspect: Suspect) -> str:
    pictures = suspect.evidence.pictures
    share = float(pictures.facts.get("constant_share", 0)) if pictures else 0.0
    return f"{units.percent(share)} of its pictures are constant" if share > 0 else ""


def _narrow(suspect: Suspect) -> str:
    return "; ".join(pictures.narrow(suspect.evidence))


def _uncounted(suspect: Suspect) -> str:
    names = suspect.evidence.facts.get("uncounted", ())
    return f"multiply-adds of {', '.join(map(str, names))} not counted" if names else ""


def _simulated(suspect: Suspect) -> str:
    """Why no speed-up is told."""
    return str(suspect.evidence.facts.get("simulated", ""))


def _sites(suspect: Suspect) -> str:
    """Where the method does not stand in for all attention of its blocks, or not for softmax."""
    return "; ".join(map(str, suspect.evidence.facts.get("sites", ())))


def _remarks(suspect: Suspect) -> str:
    """What its method says of its settings on this cell."""
    return "; ".join(map(str, suspect.evidence.facts.get("remarks", ())))


def _unpictured(suspect: Suspect) -> str:
    pictures = suspect.evidence.pictures
    return str(pictures.facts.get("unpictured", "")) if pictures else ""


def _unlike(suspect: Suspect) -> str:
    """Arms that differ in more than the method: those of each of its ratios, what is told once not again."""
    evidence, group = suspect.evidence, suspect.group
    known: set[str] = set()
    told = []
    for arm in (group.fastest, group.softmax, group.bound(evidence)):
        if arm is None or arm is evidence or not (arm.times and evidence.times):
            continue
        fresh = [one for one in arms.differences(evidence, arm) if one not in known]
        known.update(fresh)
        if fresh:
            told.append(f"differs from {arm.cell.method} also in: {', '.join(fresh)}")
    return "; ".join(told)


def _unjudged(suspect: Suspect) -> str:
    reason = suspect.evidence.unjudged
    return f"pictures not judged: {reason}" if reason else ""


def _incomplete(suspect: Suspect) -> str:
    return suspect.lacks


def _alone(suspect: Suspect) -> str:
    return "one process only" if len(suspect.evidence.times) == 1 else ""


def _wide(suspect: Suspect) -> str:
    latency = suspect.evidence.estimates.get("latency")
    if latency is None or latency.value == 0:
        return ""
    width = (latency.high - latency.low) / latency.value
    return f"interval of latency spans {units.percent(width)} of it" if width > _WIDE else ""


def _unsteady(suspect: Suspect) -> str:
    """Timed before it was warm."""
    return _unmet(suspect, "warmup", "the warm-up ended unsteady")


def _imprecise(suspect: Suspect) -> str:
    """Timed, but not until it was known as well as the suite asked for."""
    return _unmet(suspect, "stopping", "the timed calls ended imprecise")


def _unmet(suspect: Suspect, what: str, told: str) -> str:
    """What the processes still missed when something else ended them, in the first one's words."""
    times = suspect.evidence.times
    unmet = [clause for one in times if (clause := one.facts.get(what, {}).get("unmet"))]
    if not unmet:
        return ""
    of = f" in {len(unmet)} of {len(times)} processes" if len(times) > 1 else ""
    return f"{told}{of}: {unmet[0]}"


def _warmup(suspect: Suspect) -> str:
    partly = any(one.facts.get("peak_without_warmup") is False for one in suspect.evidence.times)
    return "peak memory includes the warm-up" if partly else ""


def _wavering(suspect: Suspect) -> str:
    fit = suspect.evidence.fit
    if fit is None or not fit.wavering:
        return ""
    return f"batch {', '.join(map(str, fit.wavering))} fitted once and another time not"


_DOUBTS: tuple[Callable[[Suspect], str], ...] = (
    _implausible,
    _beside_unfit,
    _inexact,
    _dead_knob,
    _idle,
    _constant,
    _narrow,
    _unpictured,
    _uncounted,
    _simulated,
    _sites,
    _remarks,
    _unlike,
    _incomplete,
    _unjudged,
    _alone,
    _wide,
    _unsteady,
    _imprecise,
    _warmup,
    _wavering,
)
