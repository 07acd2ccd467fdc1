"""What a plan of many cells rests on."""

from __future__ import annotations

import pytest
from cells import cell

from ditbench.measure import cost, operators


@pytest.mark.parametrize("rows", [1, 2, 7, 16])
def test_the_model_around_the_cores_costs_as_much_as_its_rows(rows):
    model = cell("softmax").model
    counted = cost._count_around(
        model, rows, cost.make(cost.Choice("identity")).open, operators.count
    )
    assert rows * cost._of_one_row(model, cost._softmax(model))[0] == counted
