"""A cell whose batch is asked for, where no batch is given."""

from __future__ import annotations

import dataclasses
import json

import pytest

from ditbench.records import LARGEST, Cell, Choice, cell_from_json, cell_to_json

GIVEN = Cell(Choice("m", (("depth", 2),)), Choice("softmax"), blocks=(0, 1), batch_size=4)
ASKED = dataclasses.replace(GIVEN, batch_size=LARGEST)


def test_it_says_max_where_others_say_their_batch():
    assert (GIVEN.axes["batch_size"], ASKED.axes["batch_size"]) == ("4", "max")
    assert "batch_size=max" in ASKED.id


def test_it_has_a_key_of_its_own_and_the_pictures_of_its_siblings():
    assert ASKED.key != GIVEN.key
    assert ASKED.quality_key == GIVEN.quality_key


def test_it_has_no_number_of_rows_and_says_so_instead_of_none():
    assert GIVEN.rows == 8
    with pytest.raises(ValueError, match=r"batch_size=max .* has no number of rows"):
        _ = ASKED.rows


def test_its_trials_are_cells_with_a_batch():
    assert ASKED.of_batch(4) == GIVEN
    assert (ASKED.finds_batch, ASKED.of_batch(4).finds_batch) == (True, False)


def test_it_survives_its_way_to_a_file():
    assert cell_from_json(json.loads(json.dumps(cell_to_json(ASKED)))) == ASKED
