"""Implied attention matrices side by side: heat maps on one logarithmic scale, a page, and PNG files."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from ditbench import units
from ditbench.jobs import Asked, Drawn, Matrix
from ditbench.report.render import resource, templates
from ditbench.report.tables import Column, Table, Value
from ditbench.store.disk import write_whole
from ditbench.store.writing import slug

PAGE = "matrices.html"
_AGAIN = "draw it again"
# Tones from the smallest entry to the largest, each lighter than the one before; and of negative entries.
_TONES = ((38, 16, 92), (32, 88, 150), (22, 140, 130), (120, 190, 80), (250, 225, 60))
_NEGATIVE = ((70, 0, 30), (190, 40, 50), (255, 170, 140))
_LEVELS, _BELOW = 191, 64  # places in a palette of 256, of which the first is exactly zero
_DECADES = 6
_COLUMNS = (
    Column("method"),
    Column("row sums", "lowest and highest; softmax's are 1", numeric=True),
    Column("from softmax's", "relative L2 of the whole matrix", numeric=True),
    Column("negative", "% of entries", numeric=True),
    Column("exactly zero", "% of entries", numeric=True),
    Column(
        "matrix \N{MULTIPLICATION SIGN} V", "relative L2 from the method's output", numeric=True
    ),
)


@dataclass(frozen=True)
class Scale:
    """Shared by all matrices: what lies outside takes the colour of the end."""

    low: float
    high: float

    @classmethod
    def of(cls, matrices: Sequence[Matrix]) -> Scale:
        """From the smallest entry of the first, which is softmax's, over six decades at most."""
        sizes = [np.abs(one.values) for one in matrices if one.values is not None]
        high = min(1.0, max((float(size.max()) for size in sizes), default=1.0)) or 1.0
        first = sizes[0][sizes[0] > 0] if sizes else np.ones(1)
        least = float(first.min()) if len(first) else high
        low = max(least, high * 10.0**-_DECADES)
        return cls(min(10.0 ** math.floor(math.log10(low)), high / 10), high)

    def places(self, values: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Each value's place in the palette."""
        size = np.clip(np.abs(values), self.low, self.high)
        share = np.log(size / self.low) / math.log(self.high / self.low)
        above = 1 + np.rint(share * (_LEVELS - 1))
        below = 1 + _LEVELS + np.rint(share * (_BELOW - 1))
        found = np.where(values < 0, below, above)
        return np.where(values == 0, 0, found).astype(np.uint8)

    @property
    def ticks(self) -> tuple[tuple[str, str], ...]:
        """Label and place in per cent of each decade."""
        first, last = math.log10(self.low), math.log10(self.high)
        powers = range(round(first), math.floor(last + 1e-9) + 1)
        return tuple(
            (f"{10.0**power:g}", f"{100 * (power - first) / (last - first):.1f}%")
            for power in powers
        )


@dataclass(frozen=True)
class Panel:
    """One heat map, or why there is none. said: for who cannot see it."""

    label: str
    detail: str
    uri: str
    said: str
    failure: str


def render(asked: Asked, drawn: Drawn, refused: Sequence[tuple[str, str]], folder: Path) -> Path:
    """Write the page and one PNG a method into a folder; the page's path. refused: label and reason."""
    scale = Scale.of(drawn.matrices)
    pictures = [
        None if one.values is None else _png(scale.places(one.values)) for one in drawn.matrices
    ]
    for number, (one, png) in enumerate(zip(drawn.matrices, pictures, strict=True)):
        if png:
            name = f"{number:02}-{slug(one.method.label)}.png"
            write_whole(folder / name, png, _AGAIN)
    text = (
        templates()
        .get_template("matrices.html.jinja")
        .render(
            style=Markup(resource("style.css")),  # noqa: S704 (our own file)
            title=_title(asked),
            made=_made(asked, drawn),
            panels=[
                _panel(one, png, drawn) for one, png in zip(drawn.matrices, pictures, strict=True)
            ],
            refused=refused,
            table=_table(drawn),
            scale=scale,
            tones=_gradient(_TONES),
            negative=_gradient(_NEGATIVE) if any(one.negative for one in drawn.matrices) else "",
        )
    )
    write_whole(folder / PAGE, text, _AGAIN)
    return folder / PAGE


def _title(asked: Asked) -> str:
    return f"{asked.cell.model.label}, block {asked.block}, head {asked.head}, step {asked.step}"


def _made(asked: Asked, drawn: Drawn) -> tuple[tuple[str, str], ...]:
    cell, sampling, size = asked.cell, asked.cell.sampling, f"{drawn.tokens} x {drawn.tokens}"
    row = "the guided one with a class" if sampling.guidance_scale > 1 else "the only one"
    pixel = f"the mean of {drawn.pooled} x {drawn.pooled}" if drawn.pooled > 1 else "one"
    moment = (
        f"step {asked.step} of {cell.steps} (from 0) of a run with softmax everywhere: sampler "
        f"{sampling.sampler}, guidance scale {sampling.guidance_scale:g}, {sampling.dtype}, seed "
        f"{sampling.seed}, sample 0; its row is {row}"
    )
    return (
        ("Model", f"{cell.model.label}, weights {cell.weights} ({drawn.weights})"),
        ("Place", f"block {asked.block} ({drawn.site} attention), head {asked.head}, both from 0"),
        ("Moment", moment),
        ("Matrix", _MATRIX),
        ("Whether it has one", _LINEAR),
        ("Pixels", f"{size} tokens, each pixel {pixel} of their entries. {_SCALED}"),
    )


_MATRIX = (
    "Every method is given this site's q and k, and for V the identity matrix, head_dim columns at a time "
    "and the same in all heads. What it answers is the matrix that it multiplies values with."
)
_LINEAR = (
    "The last column holds the matrix times the model's own values against what the method makes of these. "
    "Far beyond rounding, its output is not linear in V, and the matrix is its answer to the identity only."
)
_SCALED = (
    "One logarithmic scale for all; what lies outside it takes the colour of its end. Negative entries go by "
    "their size."
)


def _panel(one: Matrix, png: bytes | None, drawn: Drawn) -> Panel:
    if png is None:
        return Panel(one.method.label, "", "", "", f"not drawn: {one.failure}")
    detail = f"{one.error:.2g} from softmax's matrix"
    if not one.linear:
        detail = f"not linear in V (its matrix misses its output by {one.apart:.2g}); {detail}"
    uri = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    said = f"Heat map of the {drawn.tokens} x {drawn.tokens} matrix of {one.method.label}"
    return Panel(one.method.label, detail, uri, said, "")


def _table(drawn: Drawn) -> Table:
    entries = drawn.tokens**2
    return Table(
        _COLUMNS,
        tuple(
            (
                Value(one.method.label),
                Value(_sums(one), order=one.row_sums[0]),
                Value(f"{one.error:.2g}", order=one.error),
                Value(units.percent(one.negative / entries), order=one.negative),
                Value(units.percent(one.zeros / entries), order=one.zeros),
                Value(f"{one.apart:.1g}", "" if one.linear else "not linear in V", one.apart),
            )
            for one in drawn.matrices
            if not one.failure
        ),
    )


def _sums(one: Matrix) -> str:
    low, high = (f"{end:.4g}" for end in one.row_sums)
    return low if low == high else f"{low} \N{EN DASH} {high}"


def _png(places: NDArray[np.uint8]) -> bytes:
    """A picture with our palette; what is exactly zero lets the page through."""
    image = Image.fromarray(places, mode="P")
    image.putpalette(_palette())
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True, transparency=0)
    return file.getvalue()


def _palette() -> list[int]:
    tones = np.vstack([np.zeros((1, 3)), _ramp(_TONES, _LEVELS), _ramp(_NEGATIVE, _BELOW)])
    found: list[int] = np.rint(tones).astype(int).ravel().tolist()
    return found


def _ramp(tones: Sequence[tuple[int, int, int]], levels: int) -> NDArray[np.float64]:
    """(levels, 3): straight lines between the tones."""
    at, places = np.linspace(0, 1, levels), np.linspace(0, 1, len(tones))
    return np.stack([np.interp(at, places, channel) for channel in zip(*tones, strict=True)], 1)


def _gradient(tones: Sequence[tuple[int, int, int]]) -> str:
    """The same for a style sheet."""
    return f"linear-gradient(to right, {', '.join(f'rgb{tone}' for tone in tones)})"
