import re

import pytest

from ditbench.suite.blocks import resolve_blocks


@pytest.mark.parametrize(
    ("selection", "blocks"),
    [
        ("all", (0, 1, 2, 3, 4)),
        ("first-half", (0, 1)),
        ("second-half", (2, 3, 4)),
        ("3", (3,)),
        ("0-2", (0, 1, 2)),
        ("4, 0, 1", (0, 1, 4)),
        ("0-1,4", (0, 1, 4)),
    ],
)
def test_a_selection_is_numbered_from_zero_and_ascending(selection, blocks):
    assert resolve_blocks(selection, 5) == blocks


@pytest.mark.parametrize("depth", [2, 5, 27, 28])
def test_mistake_08_the_halves_meet_and_never_overlap(depth):
    halves = resolve_blocks("first-half", depth), resolve_blocks("second-half", depth)
    assert halves[0] + halves[1] == resolve_blocks("all", depth)
    assert len(halves[0]) == depth // 2


@pytest.mark.parametrize(
    ("selection", "cause"),
    [
        ("5", "no block 5 in a model of depth 5 (0 to 4)"),
        ("3-1", "the range 3-1 runs backwards"),
        ("1,0-2", "'1,0-2' names a block twice"),
        ("third-half", "'third-half' selects no blocks"),
        ("-1", "'-1' selects no blocks"),
        ("0,", "'0,' selects no blocks"),
        ("9" * 5000, "selects no blocks"),
    ],
    ids=["too-high", "backwards", "twice", "unknown", "negative", "trailing-comma", "endless"],
)
def test_mistake_08_a_selection_that_a_model_lacks_is_refused(selection, cause):
    with pytest.raises(ValueError, match=re.escape(cause)):
        resolve_blocks(selection, 5)


def test_the_first_half_of_one_block_is_none():
    with pytest.raises(ValueError, match="first-half of a model of depth 1 has no block"):
        resolve_blocks("first-half", 1)
