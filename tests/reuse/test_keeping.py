"""What is kept: memory of its own, given again as it was."""

from __future__ import annotations

import math

import pytest
import torch

from ditbench.reuse.gating import Kept
from ditbench.reuse.halves import ALL_ROWS, WITH, WITHOUT, halves
from ditbench.reuse.keeping import Entry, Witness, keep, loss, restored
from ditbench.reuse.quantise import Plain, Quantiser, storages

SHAPE = (2, 3, 5, 4)


def parts(seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(SHAPE, generator=generator).to(dtype) for _ in range(2)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("precision", ["own", "half", "int8", "mixed"])
def test_what_is_kept_is_in_nobody_elses_memory(precision, dtype):
    k, v = parts(dtype=dtype)
    held = keep(storages(precision, Quantiser()), (k, v))
    before = [one.restored().clone() for one in held]
    k.zero_()
    v.fill_(math.nan)
    assert all(torch.equal(one.restored(), true) for one, true in zip(held, before, strict=True))


def test_a_slice_of_a_large_block_does_not_keep_the_block():
    whole = torch.randn(100, *SHAPE)
    (held,) = keep([Plain()], [whole[3]])
    assert held.codes.untyped_storage().nbytes() == whole[3].nbytes


def test_rows_of_several_entries_come_back_one_after_the_other():
    first, second = parts(0), parts(1)
    entries = [Entry(Kept(0), keep(storages("own", Quantiser()), pair)) for pair in (first, second)]
    for number, made in enumerate(restored(entries)):
        assert torch.equal(made, torch.cat([first[number], second[number]]))
    assert torch.equal(restored(entries[:1])[1], first[1])


@pytest.mark.parametrize(
    ("precision", "rounded"),
    [("own", []), ("half", ["sqnr_k", "sqnr_v"]), ("mixed", ["sqnr_k", "sqnr_v"])],
)
def test_loss_is_told_of_what_was_rounded(precision, rounded):
    k, v = parts()
    found = loss(keep(storages(precision, Quantiser()), (k, v)), (k, v))
    assert list(found) == rounded
    assert all(value > 30 for value in found.values())


def test_the_loss_is_the_ratio_of_powers():
    k, v = parts()
    held = keep(storages("int8", Quantiser()), (k, v))
    error = (held[0].restored() - k).double().square().sum()
    told = 10 * math.log10(float(k.double().square().sum() / error))
    assert loss(held, (k, v))["sqnr_k"] == pytest.approx(told)


def test_a_witness_projects_what_is_not_given_and_notes_it():
    asked = []

    def project(x, parts="qkv"):
        asked.append(parts)
        return tuple(x + "qkv".index(part) for part in parts)

    x = torch.zeros(1)
    witness = Witness(project, given={"k": torch.tensor([9.0]), "v": torch.tensor([8.0])})
    assert [float(one) for one in witness(x)] == [0.0, 9.0, 8.0]
    assert [float(one) for one in witness(x, "vk")] == [8.0, 9.0]
    assert asked == ["q"]
    assert not witness.whole
    every = Witness(project)
    assert [float(one) for one in every(x)] == [0.0, 1.0, 2.0]
    assert every.whole


def test_halves_are_those_of_guidance_with_the_condition_first():
    (whole,) = halves(6, apart=False)
    assert (whole.name, whole.start, whole.stop, whole.of) == (ALL_ROWS, 0, 6, 1.0)
    first, second = halves(6, apart=True)
    assert (first.name, first.start, first.stop, first.of) == (WITH, 0, 3, 0.5)
    assert (second.name, second.start, second.stop, second.of) == (WITHOUT, 3, 6, 0.5)
    assert second.among(3) == slice(0, 3)
    assert second.number == 3
