"""Dynamic and quantization-aware attention reuse (after the DQAR project, as described and not as wired).

    out(t) = core(q(t), k(t'), v(t')) or out(t') while every gate is open
    t' the last step at which the site computed
    cost of the core x the share of forwards that compute; with mode kv of every forward

Each site keeps what it computed last: keys and values, to which fresh queries attend (`mode: kv`, spares two
of four projections and no more), or its finished output (`mode: output`, spares all). Whether that serves is
asked of gates in a row (`ditbench.reuse.gating`): warm-up, layer scheduler, age, number of reuses, the noise
left in the state, the entropy of the attention that is kept, and a policy, which needs a file. The entropy is
that of softmax on q and k when they were computed, and costs half a core there; it is not taken where none
could shut its gate. The layer scheduler lets the first `early` blocks reuse in the first fifth of the steps,
the first `middle` until three fifths, whatever the depth: the project's 4 and 12 are of 28, and of a model of
12 blocks hold back none after the first fifth. The norm that a policy is told is of the block's input.

Decisions are made for all samples of a batch at once, from the means of their entropies and norms. Under
guidance they are one for both halves (`guidance: shared`), or one each with an entry each (`apart`); `across`
then lets the half without its condition take the other's entry where its own will not do. Keys and values
are kept as they come, in two bytes, or as integers (`ditbench.reuse.quantise`), the keys if asked balanced
with the queries of their step first (`ditbench.reuse.salience`), so that no channel is lost beside another.

The project's sweep is this with `warmup: 0`, `max_gap: 6`, `snr_low: 0` and `snr_high: 1e9`; its static
scenario has `threshold`, `limit` and `max_gap` at 100 besides. Its wrapper gave whole outputs, counted no
reuse, and stored zeros for keys. Not to be confused with `static-reuse`, which looks at nothing but the step,
nor with `int8-qk`, whose core computes with integers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, ClassVar, Protocol

import torch

from ditbench.attention.base import Layer, Moment, Shape, Site, register
from ditbench.attention.memory import ALL, Decision, Sparing
from ditbench.digests import content
from ditbench.errors import UsageError
from ditbench.registry import setting
from ditbench.reuse import entropy, spent
from ditbench.reuse.gating import Answer, Gates, Kept, Standing
from ditbench.reuse.halves import WITH, WITHOUT, Half, halves
from ditbench.reuse.keeping import Entry, Witness, keep, loss, restored
from ditbench.reuse.quantise import (
    GRANULARITIES,
    PRECISIONS,
    Plain,
    Quantiser,
    Storage,
    Stored,
    storages,
)
from ditbench.reuse.salience import balance

if TYPE_CHECKING:
    from ditbench.attention.base import Finish, Output, Project
    from ditbench.records import Cell
    from ditbench.reuse.policy import Policy

KV = "kv"
ACROSS = "every gate open to the other half's"
_OWN, _INT8 = "own", "int8"
_SHARED, _APART = "shared", "apart"
_MOST_BITS = 8  # of codes that are kept in int8


@dataclass(frozen=True)
class Forward:
    """What a layer is called with, for all rows or some."""

    x: torch.Tensor
    project: Project
    finish: Finish
    now: Moment

    def of(self, rows: slice) -> Forward:
        """For those rows."""
        return replace(self, x=self.x[rows])

    def log_norm(self) -> float:
        """Natural logarithm of the L2 norm of a sample's input, in the mean; waits for the device."""
        return float(self.x.float().flatten(1).norm(dim=1).log().mean())


class _Mode(Protocol):
    """What is kept, and how it is given again. ran: the projections that this leaves to do."""

    ran: ClassVar[str]

    def parts(self, witness: Witness, out: Output) -> tuple[torch.Tensor, ...]:
        """Of a forward that computed, what is worth keeping."""
        ...

    def store(self, parts: Sequence[torch.Tensor]) -> tuple[Stored, ...]:
        """These, kept."""
        ...

    def again(self, call: Forward, parts: Sequence[torch.Tensor]) -> Output:
        """From what was kept of the rows of this call."""
        ...


@dataclass(frozen=True)
class KeysValues:
    """Fresh queries attend to the keys and values that are kept.

    balance: whether keys are kept divided by the factors that balance them with the queries of their step,
    which stand beside them and are multiplied in again.
    """

    ran: ClassVar[str] = "qo"

    core: Layer
    storages: tuple[Storage, Storage]
    balance: bool = False

    def parts(self, witness: Witness, out: Output) -> tuple[torch.Tensor, ...]:  # noqa: ARG002 (q is fresh)
        """Keys and values, and the factors of balanced keys."""
        q, k, v = (witness.made[part] for part in "qkv")
        if not self.balance:
            return k, v
        b = balance(q, k)
        return (k / b).to(k.dtype), v, b

    def store(self, parts: Sequence[torch.Tensor]) -> tuple[Stored, ...]:
        """As the settings say; factors as they are."""
        return keep((*self.storages, Plain())[: len(parts)], parts)

    def again(self, call: Forward, parts: Sequence[torch.Tensor]) -> Output:
        """The core projects q, and finds k and v projected."""
        k, v, *factors = parts
        for b in factors:
            k = (k * b).to(v.dtype)
        witness = Witness(call.project, {"k": k, "v": v})
        return self.core(call.x, witness, call.finish, call.now)


@dataclass(frozen=True)
class Outputs:
    """The site gives its finished output again: no projection, no core, no output projection."""

    ran: ClassVar[str] = ""

    def parts(self, witness: Witness, out: Output) -> tuple[torch.Tensor, ...]:  # noqa: ARG002 (whatever led to it)
        """Of the picture, and at a joint site of the text."""
        return out if isinstance(out, tuple) else (out,)

    def store(self, parts: Sequence[torch.Tensor]) -> tuple[Stored, ...]:
        """As they are."""
        return keep([Plain()] * len(parts), parts)

    def again(self, call: Forward, parts: Sequence[torch.Tensor]) -> Output:  # noqa: ARG002 (whatever is asked)
        """Copies: the network may write to what it is given."""
        copies = [part.clone() for part in parts]
        return copies[0] if len(copies) == 1 else (copies[0], copies[1])


@dataclass(frozen=True)
class Fresh:
    """Of rows that were computed. parts: to be kept, none where nothing is. spread: entropies (rows,).

    looked: multiply-adds that finding these took, of all the rows.
    """

    parts: tuple[torch.Tensor, ...] = ()
    spread: torch.Tensor | None = None
    looked: int = 0

    def of(self, rows: slice) -> Fresh:
        """Of some of them."""
        if self.spread is None:
            return Fresh(tuple(part[rows] for part in self.parts))
        share = len(self.spread[rows]) / len(self.spread)
        parts = tuple(part[rows] for part in self.parts)
        return Fresh(parts, self.spread[rows], round(self.looked * share))


@dataclass(frozen=True)
class _Ruling:
    """What is to be done with some rows. entry: given again; None where they are computed."""

    half: Half
    answer: Answer
    entry: Entry | None = None


@dataclass
class DqarLayer:
    """One site in one sampling run. macs: multiply-adds of the core on so many rows.

    entries: of all rows or of each half, by name; runs: for how many steps in a row these were computed.
    """

    stateless: ClassVar[bool] = False

    core: Layer
    mode: _Mode
    gates: Gates
    site: Site
    macs: Callable[[int], int]
    apart: bool = False
    across: bool = False
    entries: dict[str, Entry] = field(default_factory=dict)
    runs: dict[str, int] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)

    def __call__(self, x: torch.Tensor, project: Project, finish: Finish, now: Moment) -> Output:
        """Decide, then all rows at once where they are treated alike, else each half by itself."""
        call = Forward(x, project, finish, now)
        with spent.watched():
            each = halves(len(x), apart=self.apart and now.guided)
            rulings = [self._ruled(half, call) for half in each]
        if len({ruling.answer.reused for ruling in rulings}) == 1:
            return self._do(rulings, call)
        return _one_below_the_other([self._do([ruling], call) for ruling in rulings])

    def _ruled(self, half: Half, call: Forward) -> _Ruling:
        """By the half's own entry, or by the other's where that may be."""
        ruling = self._asked(half, half.name, call)
        if ruling.entry is None and self.across and half.name == WITHOUT:
            other = self._asked(half, WITH, call)
            if other.entry is not None:
                ruling = replace(other, answer=replace(other.answer, reason=ACROSS))
        if ruling.entry is not None:
            ruling.entry.known.reuses += 1
        self.runs[half.name] = 0 if ruling.entry is not None else self.runs.get(half.name, 0) + 1
        return ruling

    def _asked(self, half: Half, whose: str, call: Forward) -> _Ruling:
        """What the gates say to an entry."""
        entry = self.entries.get(whose)
        known = None if entry is None else entry.known
        answer = self.gates.answer(self._standing(call.now), known, call.of(half.among(0)).log_norm)
        return _Ruling(half, answer, entry if answer.reused else None)

    def _standing(self, now: Moment) -> Standing:
        return Standing(now.step, now.steps, self.site.block, now.log_snr, now.prompt)

    def _do(self, rulings: Sequence[_Ruling], call: Forward) -> Output:
        """What these rows, which lie one after the other, are given."""
        call = call.of(slice(rulings[0].half.start, rulings[-1].half.stop))
        entries = [ruling.entry for ruling in rulings if ruling.entry is not None]
        if not entries:
            return self._compute(rulings, call)
        for ruling in rulings:
            core = self.macs(ruling.half.number) if self.mode.ran else 0
            self._tell(ruling, call.now.step, self.mode.ran, core, {})
        return self.mode.again(call, restored(entries))

    def _compute(self, rulings: Sequence[_Ruling], call: Forward) -> Output:
        """Anew, and keep what may be given again."""
        witness, step = Witness(call.project), call.now.step
        out = self.core(call.x, witness, call.finish, call.now)
        fresh = self._fresh(witness, out, call.now)
        for ruling in rulings:
            mine = fresh.of(ruling.half.among(rulings[0].half.start))
            told = self._keep(ruling.half.name, mine, step)
            self._tell(ruling, step, ALL, self.macs(ruling.half.number) + mine.looked, told)
        return out

    def _fresh(self, witness: Witness, out: Output, now: Moment) -> Fresh:
        """What the gates will look at is found out here, where q and k are at hand."""
        if not (witness.whole and self.gates.keeps(self._standing(now))):
            return Fresh()
        parts, (q, k) = self.mode.parts(witness, out), (witness.made["q"], witness.made["k"])
        if not self.gates.looks_at_entropy(now.prompt, k.shape[-2]):
            return Fresh(parts)
        with spent.watched():
            return Fresh(parts, entropy.entropy(q, k), entropy.macs(*q.shape[:3], *k.shape[2:]))

    def _keep(self, name: str, fresh: Fresh, step: int) -> dict[str, float]:
        """As the entry of these rows, in the place of any; where somebody listens, what storing lost."""
        self.entries.pop(name, None)
        if not fresh.parts:
            return {}
        held = self.mode.store(fresh.parts)
        spread = None if fresh.spread is None else fresh.spread.mean()
        self.entries[name] = Entry(Kept(step, self.runs[name], entropy=spread), held)
        return spent.told(lambda: loss(held, fresh.parts))

    def _tell(
        self, ruling: _Ruling, step: int, ran: str, core: int, told: Mapping[str, float]
    ) -> None:
        answer, of = ruling.answer, ruling.half.of
        seen = {**answer.seen, **told}
        self.decisions.append(
            Decision(step, answer.reused, answer.reason, ran, of, core, of=of, seen=seen)
        )


def _one_below_the_other(outs: Sequence[Output]) -> torch.Tensor:
    """Of both halves; sites that give text too are refused where halves are apart."""
    return torch.cat([out for out in outs if isinstance(out, torch.Tensor)])


@cache
def _policy(named: str) -> Policy:
    """Of a file, as `digests.sealed` names it: its content is part of the name."""
    from ditbench.reuse import policy  # noqa: PLC0415 (numpy, where a policy is named)

    return policy.Policy.read(content(named), named.rpartition("#")[0])


@register
@dataclass(frozen=True)
class Dqar(Sparing):
    """Reuse of keys and values, or of outputs, that every gate lets pass."""

    name: ClassVar[str] = "dqar"
    paper: ClassVar[str] = "none: the DQAR project's description"
    formula: ClassVar[str] = "out(t) = core(q(t), k(t'), v(t')) or out(t') while every gate is open"
    cost: ClassVar[str] = "of the core, in the forwards that compute; with mode kv in all"

    core: str = setting("sdpa", method=True)
    mode: str = setting(KV, choices=(KV, "output"))
    threshold: float = setting(2.5, least=0)
    limit: int = setting(3, least=0)
    max_gap: int = setting(4, least=0)
    cooldown: int = setting(1, least=1)
    warmup: int = setting(3, least=0)
    snr_low: float = setting(0.1, least=0)
    snr_high: float = setting(100.0, least=0)
    scheduler: bool = setting(True)
    early: int = setting(4, least=0)
    middle: int = setting(12, least=0)
    policy: str = setting("", file=True, reader="ditbench.reuse.policy:Policy.read")
    min_probability: float = setting(0.5, least=0, most=1)
    precision: str = setting(_OWN, choices=tuple(PRECISIONS))
    granularity: str = setting("head", choices=tuple(GRANULARITIES))
    bits: int = setting(8, least=2, most=_MOST_BITS)
    balance: bool = setting(False)
    guidance: str = setting(_SHARED, choices=(_SHARED, _APART))
    across: bool = setting(False)

    @property
    def gates(self) -> Gates:
        """As these settings have them. Raises UsageError for a policy that cannot be read."""
        return Gates(
            threshold=self.threshold,
            limit=self.limit,
            max_gap=self.max_gap,
            cooldown=self.cooldown,
            warmup=self.warmup,
            snr_low=self.snr_low,
            snr_high=self.snr_high,
            early=self.early if self.scheduler else None,
            middle=self.middle if self.scheduler else None,
            policy=_policy(self.policy) if self.policy else None,
            min_probability=self.min_probability,
        )

    def unsupported(self, shape: Shape, dtype: str, device: str) -> list[str]:
        """What the core says, settings that exclude each other, and a policy that cannot be read."""
        apart = self.guidance == _APART
        reasons = {
            "precision is that of keys and values: write mode: kv": self.mode != KV
            and self.precision != _OWN,
            f"snr_low {self.snr_low:g} is above snr_high {self.snr_high:g}, and nothing lies between: write "
            "the smaller one as snr_low": self.snr_low > self.snr_high,
            "balance is of keys that are rounded: write precision: int8": self.balance
            and self.precision != _INT8,
            "across needs entries of their own for both halves: write guidance: apart": self.across
            and not apart,
            "guidance: apart cuts rows in two, text among them and frames cannot be": apart
            and not shape.plane,
        }
        told = [reason for reason, holds in reasons.items() if holds]
        return super().unsupported(shape, dtype, device) + told + self._unread()

    def remarks(self, cell: Cell) -> list[str]:
        """What its policy was trained on, where the cell is another."""
        if not self.policy:
            return []
        told = _policy(self.policy).elsewhere(cell.model.label, self.mode, cell.steps)
        place = self.policy.rpartition("#")[0]
        return [f"policy {place} was trained on {'; '.join(told)}"] if told else []

    def _unread(self) -> list[str]:
        try:
            self.gates  # noqa: B018 (it reads the policy)
        except UsageError as error:
            return [str(error)]
        return []

    def open(self, site: Site) -> Layer:
        """A layer that remembers nothing yet."""
        core = self.spared.open(site)
        kept = storages(self.precision, Quantiser(self.granularity, self.bits))
        return DqarLayer(
            core,
            KeysValues(core, kept, self.balance) if self.mode == KV else Outputs(),
            self.gates,
            site,
            lambda rows: self.macs(site.shape(rows)),
            self.guidance == _APART,
            self.across,
        )
