"""Labels in charts: none on another, all inside."""

from __future__ import annotations

from itertools import pairwise

from ditbench.report import labels


def test_labels_of_crowded_marks_do_not_overlap():
    marks = [(100 + 3 * n, 100 + 2 * n, f"method {n}") for n in range(6)]
    places = labels.place(marks, (640, 360))
    boxes = [
        labels._box(x, y, text, where)
        for (x, y, text), where in zip(marks, places, strict=True)
        if where
    ]
    assert len(boxes) >= 4
    for number, box in enumerate(boxes):
        assert labels._free(box, boxes[:number], (640, 360))


def test_a_label_without_room_is_left_out_rather_than_laid_over_another():
    marks = [(50.0, 7.0, "a long name of a method")] * 9
    assert None in labels.place(marks, (100, 15))


def test_a_mark_whose_name_has_no_room_has_a_number():
    marks = [(150 + 6 * n, 40 + 4 * n, f"a method of a long name {n}") for n in range(9)]
    found = labels.named(marks, (320, 110))
    assert None not in found.texts
    numbers = [text for text, _ in found.texts if text.isdigit()]
    assert len(numbers) == len(found.numbered) >= 3
    for (text, _), (_, _, name) in zip(found.texts, marks, strict=True):
        assert found.numbered[int(text) - 1] == name if text.isdigit() else text == name
    assert [*found.numbered] == sorted(found.numbered, reverse=True)  # from the right


def test_no_number_lies_on_a_name():
    marks = [(100 + 3 * n, 100 + 2 * n, f"method {n}") for n in range(12)]
    found = labels.named(marks, (640, 360))
    boxes = [
        labels._box(x, y, text, where)
        for (x, y, _), (text, where) in zip(marks, found.texts, strict=True)
    ]
    for number, box in enumerate(boxes):
        assert labels._free(box, boxes[:number], (640, 360))


def test_beyond_the_last_number_marks_stay_bare():
    marks = [(50.0 + n, 7.0, "a long name of a method") for n in range(9)]
    found = labels.named(marks, (100, 15), most=4)
    assert found.texts.count(None) == 5
    assert len(found.numbered) == 4


def test_lines_of_text_are_spread_in_their_order():
    moved = labels.spread([10, 11, 12, 200], 360)
    assert moved == sorted(moved)
    assert all(b - a >= labels.LINE for a, b in pairwise(moved))


def test_lines_of_text_stay_above_the_bottom_where_they_can():
    assert max(labels.spread([355, 358, 360], 360)) <= 360


def test_names_of_several_lines_are_spread_by_their_height():
    rooms = [14, 42, 28, 14]
    moved = labels.spread([100, 101, 102, 355], 360, rooms)
    boxes = [(at - room / 2, at + room / 2) for at, room in zip(moved, rooms, strict=True)]
    assert all(below[0] >= above[1] for above, below in pairwise(boxes))
    assert moved[3] == 355


def test_a_name_is_broken_where_it_may_be_and_never_cut():
    name = "dqar[mode=output,threshold=100,policy=fashion-dit]"
    lines = labels.wrapped(name, 220)
    assert lines == ["dqar[mode=output,threshold=100,", "policy=fashion-dit]"]
    assert all(labels.width(line) <= 220 for line in lines)
    assert labels.wrapped("sdpa + first-block-cache[threshold=0.3]", 190) == [
        "sdpa + first-block-cache[",
        "threshold=0.3]",
    ]
    assert labels.wrapped("abcdef" * 3, 40) == ["abcdef"] * 3
    assert labels.wrapped("sdpa + pab", 220) == ["sdpa + pab"]
    assert labels.wrapped("", 220) == [""]
