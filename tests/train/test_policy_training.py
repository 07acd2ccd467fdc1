"""A reuse policy learns what traces teach, and is judged on samples that it has not seen."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from fakes_traces import line, planted

from ditbench.errors import UsageError
from ditbench.reuse.policy import Policy
from ditbench.train.examples import Examples, examples, split
from ditbench.train.policy import Course, cross_entropy, descend, fit, gradients
from ditbench.train.worth import auc, judge

TOLERANCE = 0.05
COURSE = Course(TOLERANCE, epochs=150)


def test_gradients_are_those_of_the_loss():
    source = np.random.default_rng(1)
    inputs, labels = source.normal(size=(30, 5)), (source.random(30) < 0.4).astype(float)
    layers = tuple(
        (source.normal(0, 0.4, size=w.shape), source.normal(0, 0.4, size=b.shape))
        for w, b in Policy.untrained().layers
    )
    found = gradients(layers, inputs, labels)
    for number, at in ((0, (3, 2)), (1, (5, 7)), (2, (0, 30))):
        for part, place in ((0, at), (1, at[:1])):
            moved = [[one.copy() for one in layer] for layer in layers]
            losses = []
            for nudge in (1e-6, -2e-6):
                moved[number][part][place] += nudge
                p = np.array(_float64(moved, inputs))
                losses.append(cross_entropy(p, labels))
            slope = (losses[0] - losses[1]) / 2e-6
            assert found[number][part][place] == pytest.approx(slope, rel=1e-4, abs=1e-9)


def _float64(layers, inputs):
    a = np.tanh(inputs @ layers[0][0].T + layers[0][1])
    b = np.tanh(a @ layers[1][0].T + layers[1][1])
    return 1 / (1 + np.exp(-(b @ layers[2][0].T + layers[2][1])[:, 0]))


def test_a_planted_rule_is_learned_and_holds_on_samples_that_were_held_out():
    known, unseen = split(examples(planted()), 0.25, seed=7)
    assert not set(known.samples) & set(unseen.samples)
    verdict = judge(fit(known, COURSE), unseen, TOLERANCE)
    trained, untrained, always, never = verdict.scores
    assert trained.accuracy >= 0.9
    assert trained.auc >= 0.95
    assert trained.loss < verdict.constant_loss <= untrained.loss + 1e-3
    assert verdict.ahead == len(unseen.samples) == 1
    assert always.accuracy == pytest.approx(verdict.base_rate)
    assert never.accuracy == pytest.approx(1 - verdict.base_rate)
    assert (always.accepted, never.accepted, never.error) == (1.0, 0.0, None)


def test_what_there_is_nothing_to_learn_of_is_learned_by_no_policy():
    source = np.random.default_rng(3)
    lines = [
        line(s, t, b, error=source.choice([0.01, 0.2]))
        for s in range(6)
        for t in range(20)
        for b in range(4)
    ]
    known, unseen = split(examples(lines), 0.5, seed=7)
    trained, *_ = judge(fit(known, COURSE), unseen, TOLERANCE).scores
    assert abs(trained.auc - 0.5) < 0.1


def test_the_same_traces_and_seed_give_the_same_file():
    known = examples(planted())
    assert fit(known, COURSE).write() == fit(known, COURSE).write()
    assert fit(known, COURSE).write() != fit(known, dataclasses.replace(COURSE, seed=8)).write()


def test_a_policy_says_how_it_came_to_be():
    policy = fit(examples(planted(samples=2)), COURSE)
    about = Policy.read(policy.write()).about
    assert about | {"loss": ""} == {
        "trained": "yes",
        "model": "m",
        "method": "dqar",
        "tolerance": "0.05",
        "epochs": "150",
        "seed": "7",
        "examples": "160",
        "loss": "",
        "ignored": "prompt",
        "samples": "[[0, 0], [0, 1]]",
    }
    assert 0 < float(about["loss"]) < math.log(2)


def test_an_input_that_never_varied_is_not_looked_at():
    policy = fit(examples(planted(samples=2)), COURSE)
    assert policy.probability(3, 0, 4, 0.5, 1) == policy.probability(3, 0, 4, 0.5, 90)


def test_an_input_that_varied_by_rounding_alone_is_not_looked_at():
    """A spread of almost nothing, that weights are divided by, would make them astronomic."""
    known = examples(planted(samples=2))
    still = known.inputs.copy()
    still[:, 1] = 1.2345 + 1e-15 * np.arange(len(still))
    policy = fit(dataclasses.replace(known, inputs=still), COURSE)
    assert policy.about["ignored"].startswith("log_snr")
    assert max(float(abs(weight).max()) for weight, _ in policy.layers) < 100


def test_a_seed_of_many_digits_is_told_to_the_last():
    policy = fit(examples(planted(samples=2)), dataclasses.replace(COURSE, seed=1234567, epochs=2))
    assert policy.about["seed"] == "1234567"


def test_written_float32_answers_as_what_was_trained():
    known = examples(planted(samples=2))
    policy = Policy.read(fit(known, COURSE).write())
    spread = known.inputs.std(axis=0)
    inputs = (known.inputs - known.inputs.mean(axis=0)) / np.where(spread > 0, spread, np.inf)
    drawn = tuple((w.astype(float), b.astype(float)) for w, b in Policy.untrained(7).layers)
    layers = descend(drawn, inputs, known.labels(TOLERANCE), COURSE.epochs)
    expected = _float64(layers, inputs)
    assert policy.probabilities(known.inputs) == pytest.approx(expected, abs=1e-3)


def test_a_planted_leak_is_refused():
    found = examples(planted())
    known, unseen = split(found, 0.25, seed=7)
    leaked = fit(found.of([*known.samples, *unseen.samples]), COURSE)
    told = f"the policy was trained on sample {unseen.samples[0][1]} of seed 0: judge it on samples"
    with pytest.raises(UsageError, match=told):
        judge(leaked, unseen, TOLERANCE)


def test_a_leak_shows_also_in_a_policy_that_was_written_and_read():
    found = examples(planted())
    policy = Policy.read(fit(found, COURSE).write())
    with pytest.raises(UsageError, match="trained on sample 0 of seed 0, and 3 more"):
        judge(policy, found, TOLERANCE)


def test_the_same_sample_of_another_seed_is_another_noise():
    policy = fit(examples(planted()), COURSE)
    assert judge(policy, examples(planted(seed=1)), TOLERANCE).samples == (
        (1, 0),
        (1, 1),
        (1, 2),
        (1, 3),
    )


def test_samples_are_held_out_whole_and_the_same_ones_for_a_seed():
    found = examples(planted(samples=8))
    known, unseen = split(found, 0.25, seed=7)
    assert (len(known.samples), len(unseen.samples)) == (6, 2)
    assert len(unseen) == 2 * 80
    assert split(found, 0.25, seed=7)[1].samples == unseen.samples
    assert len({split(found, 0.25, seed=n)[1].samples for n in range(5)}) > 1


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        ([], "the traces hold no line: nothing to learn from"),
        (
            [line(seen={"gap": 1.0})],
            "no line of the traces has all of entropy, log_snr, log_norm, ",
        ),
        (
            [line(), line(step=1, error=None, reused=False)],
            "1 of the 2 decisions about which a policy was asked were computed, and their error is unknown",
        ),
        (
            [line(), line(model="n", step=1)],
            r"the traces are of 2 models \(m; n\): leave out some, or",
        ),
    ],
)
def test_traces_that_teach_nothing_are_refused_in_one_line(lines, cause):
    with pytest.raises(UsageError, match=cause) as told:
        examples(lines)
    assert "\n" not in str(told.value)


def test_several_models_at_once_are_taken_where_that_is_said():
    found = examples([line(), line(model="n", step=1)], mixed=True)
    assert (len(found), found.about["model"]) == (2, "m; n")


def test_one_method_with_several_settings_teaches_one_policy_which_names_them_all():
    found = examples([line(), line(method="dqar[warmup=2]", step=1)])
    assert (len(found), found.about["method"]) == (2, "dqar; dqar[warmup=2]")


def test_one_sample_cannot_be_held_out_of_itself():
    with pytest.raises(UsageError, match="reuses of 1 samples, and one is held out"):
        split(examples([line(), line(step=1)]), 0.25, 7)


@pytest.mark.parametrize(("tolerance", "worth"), [(0.001, 0), (100.0, 320)])
def test_a_trace_of_one_class_is_refused_with_its_errors(tolerance, worth):
    cause = (
        f"{worth} of the 320 reuses to learn from have an error of at most {tolerance:g}, from 0.0"
    )
    with pytest.raises(UsageError, match=cause):
        fit(examples(planted()), Course(tolerance))


def test_what_is_of_no_use_is_counted():
    lines = [
        *planted(samples=1),
        line(sample=9, seen={"gap": 2.0}, reused=False, error=None),
        line(sample=9, step=1, seen={**line().seen, "log_norm": -math.inf}),
    ]
    found = examples(lines)
    assert len(found) == 80
    assert found.left == {"no policy was asked": 1, "an input is not finite": 1}


def test_an_error_that_is_no_number_is_not_worth_it():
    found = examples([line(error=math.nan), line(step=1, error=math.inf), line(step=2, error=0.05)])
    assert found.labels(0.05).tolist() == [0.0, 0.0, 1.0]


def test_auc_counts_pairs_and_ties_a_half():
    p, labels = np.array([0.1, 0.5, 0.5, 0.9]), np.array([0.0, 0.0, 1.0, 1.0])
    assert auc(p, labels) == (1 + 1 + 0.5 + 1) / 4
    assert auc(np.full(4, 0.5), labels) == 0.5


def test_an_accepted_reuse_s_error_is_told():
    found = examples([line(error=0.01), line(step=19, error=0.2)])
    made = Examples(found.inputs, found.errors, ((5, 5), (5, 5)), found.about, found.left)
    *_, always, never = judge(Policy.untrained(), made, 0.05).scores
    assert (always.error, always.right) == (pytest.approx(0.105), 0.5)
    assert never.right is None
