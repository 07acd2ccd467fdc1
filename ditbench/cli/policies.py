"""`ditbench train-policy`: a reuse policy from traces, judged on samples that it has not seen."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ditbench import errors, units
from ditbench.cli import output
from ditbench.cli.options import Json

if TYPE_CHECKING:
    from ditbench.reuse.policy import Policy
    from ditbench.reuse.trace import Line
    from ditbench.train.examples import Examples
    from ditbench.train.policy import Course
    from ditbench.train.worth import Score, Verdict

_SHOWN = 12  # samples that are named


def add_to(app: typer.Typer) -> None:
    """Register this verb."""
    app.command("train-policy")(train_policy)


def train_policy(
    traces: Annotated[
        list[Path] | None,
        typer.Argument(metavar="TRACE", help="Files that `ditbench trace` wrote."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="The policy to write, as *.safetensors."),
    ] = None,
    tolerance: Annotated[
        float,
        typer.Option(
            "--tolerance",
            metavar="ERROR",
            help="A reuse is worth it up to this relative error of its output.",
            min=0,
        ),
    ] = 0.05,
    epochs: Annotated[
        int, typer.Option("--epochs", metavar="N", help="Steps over all examples.", min=1)
    ] = 500,
    seed: Annotated[
        int,
        typer.Option(
            "--seed", metavar="N", help="Of the first weights, and of who is held out.", min=0
        ),
    ] = 7,
    held_out: Annotated[
        float,
        typer.Option(
            "--held-out",
            metavar="SHARE",
            help="Of the samples, those to judge by; one at least.",
            min=0,
            max=1,
        ),
    ] = 0.25,
    mixed: Annotated[
        bool, typer.Option("--mixed", help="Take traces of several models at once.")
    ] = False,
    judge: Annotated[
        Path | None,
        typer.Option(
            "--judge", metavar="FILE", help="Train nothing: judge this policy on all the samples."
        ),
    ] = None,
    untrained: Annotated[
        bool,
        typer.Option(
            "--untrained", help="Train nothing and read nothing: write what training starts from."
        ),
    ] = False,
    json: Json = False,
) -> int:
    """Train a reuse policy by traces, and judge it on samples held out, beside one that nobody trained."""
    from ditbench.reuse.policy import Policy
    from ditbench.train.examples import examples
    from ditbench.train.policy import Course
    from ditbench.train.worth import judge as judged

    _check(traces, out, judge, untrained=untrained)
    if untrained:
        return _write(out, Policy.untrained(seed))
    found = examples(_lines(traces or []), mixed=mixed)
    course = Course(tolerance, epochs, seed)
    policy, unseen = (_read(judge), found) if judge else _trained(found, course, held_out)
    told = Told(judged(policy, unseen, tolerance), found, policy.about, tolerance)
    output.as_json(told.plain) if json else _show(told)
    return _write(out, policy, silent=json)


def _check(
    traces: list[Path] | None, out: Path | None, judge: Path | None, *, untrained: bool
) -> None:
    """Raises UsageError where it is not one of three: train, judge, or write what training starts from."""
    asked = (bool(traces), out is not None, judge is not None, untrained)
    if asked not in {
        (True, True, False, False),
        (True, False, True, False),
        (False, True, False, True),
    }:
        raise errors.UsageError(
            "write TRACE... --out FILE to train a policy, TRACE... --judge FILE to judge one, or --untrained "
            "--out FILE"
        )


def _trained(found: Examples, course: Course, held_out: float) -> tuple[Policy, Examples]:
    """A policy, and the examples that it has not seen."""
    from ditbench.train.examples import split
    from ditbench.train.policy import fit

    known, unseen = split(found, held_out, course.seed)
    return fit(known, course), unseen


def _write(out: Path | None, policy: Policy, *, silent: bool = False) -> int:
    """Where one is to be written; its path is a result too."""
    from ditbench.store.disk import write_whole

    if out is not None:
        write_whole(out, policy.write(), "train it again")
        if not silent:
            print(out)
    return errors.OK


def _lines(traces: list[Path]) -> list[Line]:
    """Of all files; what is damaged in one is told, and so is what stands in two."""
    from ditbench.reuse.trace import joined, parse
    from ditbench.store.disk import load

    found = joined(parse(str(path), load(path)) for path in traces)
    for problem in found.problems:
        output.warn(problem)
    return list(found.lines)


def _read(path: Path) -> Policy:
    from ditbench.reuse.policy import Policy
    from ditbench.store.disk import load

    return Policy.read(load(path), str(path))


@dataclass(frozen=True)
class Told:
    """What is said of a policy. found: what the traces hold; about: the policy, in its own words."""

    verdict: Verdict
    found: Examples
    about: Mapping[str, str]
    tolerance: float

    @property
    def plain(self) -> list[dict[str, Any]]:
        """An object an arm, with what they share."""
        verdict = self.verdict
        shared = {
            "tolerance": self.tolerance,
            "judged": verdict.examples,
            "samples": [list(one) for one in verdict.samples],
            "base_rate": verdict.base_rate,
            "constant_loss": verdict.constant_loss,
            "ahead": verdict.ahead,
            "left_out": dict(self.found.left),
            "policy": dict(self.about),
        }
        return [{**dataclasses.asdict(score), **shared} for score in verdict.scores]


def _show(told: Told) -> None:
    """The arms, and what was judged; which is better the figures say."""
    verdict, count = told.verdict, len(told.verdict.samples)
    named = ", ".join(f"{seed}:{sample}" for seed, sample in verdict.samples[:_SHOWN])
    more = f" and {count - _SHOWN} more" if count > _SHOWN else ""
    trained = "examples" in told.about
    print(f"trained on {told.about['examples']} reuses of" if trained else "trained by nobody")
    for what in ("model", "method") if trained else ():
        for line in told.about[what].split("; "):
            print(f"  {line}")
    print(
        f"judged on {verdict.examples:,} reuses of {count} samples that it has not seen (seed:sample {named}"
        f"{more}), {units.percent(verdict.base_rate)} of them within {told.tolerance:g}"
    )
    for reason, lines in told.found.left.items():
        if lines:
            print(f"{lines:,} lines of the traces are of no use: {reason}")
    output.table(
        "arms",
        ["arm", "loss", "accuracy", "AUC", "accepted", "of these within", "their mean error"],
        (_line(score) for score in verdict.scores),
    )
    print(
        f"the best constant probability has loss {units.digits(verdict.constant_loss)}; the policy's loss is "
        f"below the untrained one's on {verdict.ahead} of {count} samples"
    )


def _line(score: Score) -> list[str]:
    return [
        score.arm,
        "" if score.loss is None else units.digits(score.loss),
        units.percent(score.accuracy),
        units.digits(score.auc),
        units.percent(score.accepted),
        "" if score.right is None else units.percent(score.right),
        "" if score.error is None else units.digits(score.error),
    ]
