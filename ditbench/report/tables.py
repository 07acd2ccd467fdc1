"""Tables as text: what a template prints, and what a column is sorted by."""

from __future__ import annotations

from dataclasses import dataclass, field

NOT_MEASURED = "not measured"
_LONG = 28  # characters


@dataclass(frozen=True)
class Value:
    """One field of a table. detail: quieter lines below it. order: what sorting goes by, None last.

    doubt: why the figure may mean less than it seems. effect: what rows are ordered by at first.
    """

    text: str
    detail: str = ""
    order: float | str | None = None
    doubt: str = ""
    effect: float | None = None

    @property
    def absent(self) -> bool:
        """Whether there is no figure to show."""
        return self.text == NOT_MEASURED

    @property
    def long(self) -> bool:
        """Whether the text needs a wide column."""
        return len(self.text) > _LONG


MISSING = Value(NOT_MEASURED)


@dataclass(frozen=True)
class Column:
    """One column. unit: what its figures are. group: the heading above several columns."""

    title: str
    unit: str = ""
    group: str = ""
    numeric: bool = False


@dataclass(frozen=True)
class Table:
    """Columns and rows of text; hidden counts the rows that were left out, `shown` says how many were not."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]
    hidden: int = 0
    groups: tuple[tuple[str, int], ...] = field(init=False)

    def __post_init__(self) -> None:
        spans: list[tuple[str, int]] = []
        for column in self.columns:
            if spans and spans[-1][0] == column.group:
                spans[-1] = (column.group, spans[-1][1] + 1)
            else:
                spans.append((column.group, 1))
        object.__setattr__(self, "groups", tuple(spans))

    @property
    def shown(self) -> int:
        """How many rows there are to see."""
        return len(self.rows)
