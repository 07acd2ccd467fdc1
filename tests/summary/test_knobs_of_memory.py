"""Settings of methods with memory and of accelerators: wired to nothing, or with nothing to do just here."""

from __future__ import annotations

from dataclasses import replace

from fakes_reuse import dqar, remembering
from fakes_runs import cell, fake_run, gate

from ditbench.records import Choice
from ditbench.summary import summarise

WAY_OUT = "(see that the method reads it, or leave it out)"


def told(digests, **facts):
    """What is said of knobs, by label, of cells whose gates saw these outputs."""
    records = [gate(of, knob_digest=digest, **facts) for of, digest in digests.items()]
    rows = summarise(fake_run(*records, claims=())).rows
    return {row.cell.method: [one for one in row.doubts if "bit-identical" in one] for row in rows}


def label(threshold, limit):
    return f"dqar {{threshold: {threshold}, limit: {limit}}}"


def test_mistake_15_a_knob_that_changes_no_output_over_its_whole_range_is_wired_to_nothing():
    found = told({dqar(t, n): f"limit {n}" for t in (0.1, 0.2, 0.3) for n in (1, 2)})
    said = "outputs of the gate's run bit-identical to {}: threshold changes nothing {}"
    assert found[label(0.2, 2)] == [said.format(label(0.1, 2), WAY_OUT)]
    assert all(WAY_OUT in one for of in found.values() for one in of)
    assert len(found) == 6


def test_a_knob_that_works_elsewhere_has_nothing_to_do_here():
    digests = {dqar(0.1, 0): "off", dqar(0.2, 0): "off"}
    digests |= {dqar(0.1, 1): "some", dqar(0.2, 1): "more"}
    found = told(digests)
    assert found[label(0.1, 0)] == [
        f"outputs of the gate's run bit-identical to {label(0.2, 0)}: threshold changes nothing here"
    ]
    assert found[label(0.1, 1)] == found[label(0.2, 1)] == []


def test_of_two_knobs_at_once_both_must_work_elsewhere():
    apart = {dqar(0.1, 0): "off", dqar(0.2, 1): "off"}
    assert WAY_OUT in told(apart)[label(0.1, 0)][0]
    threshold_lives = told(apart | {dqar(0.3, 0): "other"})
    assert threshold_lives[label(0.1, 0)][0].endswith(
        f"limit and threshold change nothing {WAY_OUT}"
    )
    both_live = told(apart | {dqar(0.2, 0): "other"})
    assert both_live[label(0.1, 0)][0].endswith("limit and threshold change nothing here")


def test_another_batch_size_brings_no_knob_to_life():
    digests = {dqar(0.1, batch_size=1): "one", dqar(0.2, batch_size=1): "one"}
    digests |= {dqar(0.1, batch_size=4): "four", dqar(0.2, batch_size=4): "four"}
    records = [gate(of, knob_digest=digest) for of, digest in digests.items()]
    rows = summarise(fake_run(*records, claims=())).rows
    assert all(WAY_OUT in " ".join(row.doubts) for row in rows)


def test_mistake_15_a_setting_of_an_accelerator_that_does_nothing_is_told_like_any_other():
    def of(every):
        return cell("sdpa", accelerator=Choice("pab", (("every", every),), f"pab[every={every}]"))

    found = told({of(2): "same", of(3): "same"})
    (said,) = found["sdpa + pab[every=2]"]
    assert said.endswith(
        f"bit-identical to sdpa + pab[every=3]: accelerator.every changes nothing {WAY_OUT}"
    )


def test_an_accelerator_that_spares_nothing_leaves_its_attention_alone():
    plain = dqar()
    of = replace(plain, attention=Choice("sdpa", (), "sdpa"), accelerator=Choice("pab", (), "pab"))
    (row,) = summarise(fake_run(*remembering(of, share=0.0), claims=())).rows
    assert "reuses nothing in 120 forwards: its speed is that of sdpa alone" in row.doubts
