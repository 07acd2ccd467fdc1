"""Implied matrices are drawn on every kind of site where a method can stand, text among the tokens or not."""

from __future__ import annotations

import dataclasses

import pytest
from small_models import SMALL

from ditbench.jobs import Asked
from ditbench.measure import implied
from ditbench.records import Cell, Choice


@pytest.mark.parametrize(
    ("name", "site", "tokens"),
    [
        ("pixart", "transformer_blocks.1.attn1, self", 16),  # and not the cross attention beside it
        ("sd3.5", "transformer_blocks.1.attn, joint", 16 + 5),
        ("flux", "single_transformer_blocks.0.attn, joint", 16 + 5),
    ],
)
def test_the_matrix_of_a_site_is_of_all_its_tokens(name, site, tokens):
    spec = SMALL[name]
    model = Choice(spec.name, tuple(dataclasses.asdict(spec).items()), name)
    cell = Cell(model, Choice("softmax"), blocks=tuple(range(spec.depth)), steps=2)
    drawn = implied.matrices(Asked(cell, (Choice("softmax"), Choice("identity")), 1, 0, 1), "cpu")
    softmax, identity = drawn.matrices
    assert (drawn.site, drawn.tokens) == (site, tokens)
    assert softmax.error < 1e-5
    assert identity.zeros == tokens * (tokens - 1)
