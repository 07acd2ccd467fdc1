"""MonarchAttention's turns, one launch of one Triton kernel for each half; no matrix outlives its tile.

Both halves of a turn are the same step. In each group of tokens, rows look at columns: logits x y^T / sqrt(d)
and a bias, their softmax over the columns, means of the columns by it.

    half        groups    rows x         columns y    bias            hands on
    R           blocks    mean queries   keys         none            mean keys, entropies; at last mean v
    L           offsets   mean keys      queries      - normalisers   mean queries
    L at last   offsets   queries        mean keys    entropies       out, means of the mean v

L's mean queries are means by a softmax too: L[j, k, l] is exp(q[l, j] mean_k[k, j] + H[j, k] - n[j, l]), n
the normaliser of its row, and H does not depend on l: over l, weights in proportion to L are the softmax of
q mean_k - n. The same program finds n where it sees every block, else a launch before it does. So T turns are
2 T launches, and up to T - 1 more where there are more than _MOST blocks.

A group's members are tokens of the padded sequence, number group * GROUP + member * MEMBER. What is handed on
lies in that order, (batch, heads, N', d) or (batch, heads, N'). Logits, entropies and normalisers are in
float32 and to base 2; products take the dtype of q and add up in float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import triton
import triton.language as tl

from ditbench.kernels import interpreted

# Blocks of which one program takes all normalisers: a tile of so many rows is still held in registers.
_MOST = 128
# Less than any logit, and finite: differences are never NaN, and what a tile of nothing but padding adds up
# to is scaled by 0 when the first real column comes.
_NOTHING = tl.constexpr(-1e30)


@triton.jit  # type: ignore[untyped-decorator]  # Triton says no types
def _half_turn(  # noqa: C901, PLR0912, PLR0913, PLR0915, PLR0917 (a kernel is one function of many addresses)
    x: tl.tensor,
    y: tl.tensor,
    z: tl.tensor,
    bias: tl.tensor,
    x_entropy: tl.tensor,
    mean_y: tl.tensor,
    mean_z: tl.tensor,
    entropy: tl.tensor,
    less_normaliser: tl.tensor,
    heads: tl.tensor,
    x_batch: tl.tensor,
    x_head: tl.tensor,
    x_token: tl.tensor,
    y_batch: tl.tensor,
    y_head: tl.tensor,
    y_token: tl.tensor,
    z_batch: tl.tensor,
    z_head: tl.tensor,
    z_token: tl.tensor,
    out_batch: tl.tensor,
    out_head: tl.tensor,
    out_token: tl.tensor,
    scale: tl.tensor,
    GROUPS: tl.constexpr,
    MEMBERS: tl.constexpr,
    GROUP: tl.constexpr,
    MEMBER: tl.constexpr,
    X_FIRST: tl.constexpr,
    X_COUNT: tl.constexpr,
    Y_FIRST: tl.constexpr,
    Y_COUNT: tl.constexpr,
    OUT_FIRST: tl.constexpr,
    OUT_COUNT: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    UNIT: tl.constexpr,
    WIDEN: tl.constexpr,
) -> None:
    """One tile of rows of one group of one head. Strides are in units of UNIT numbers.

    Optional: z (as y) and mean_z; bias, of columns; x_entropy, of rows, from which the normalisers are found;
    mean_y; entropy; less_normaliser. FIRST, COUNT: which tokens x, y and z, mean_z have.
    """
    tiles: tl.constexpr = (MEMBERS + ROWS - 1) // ROWS
    program = tl.program_id(0)
    tile = program % tiles
    group = program // tiles % GROUPS
    which = (program // (tiles * GROUPS)).to(tl.int64)
    batch = which // heads
    head = which % heads
    x += (batch * x_batch + head * x_head) * UNIT
    y += (batch * y_batch + head * y_head) * UNIT
    padded = which * (GROUPS * MEMBERS)

    numbers = tl.arange(0, WIDTH)[None, :]
    inside = numbers < HEAD_DIM
    row = tile * ROWS + tl.arange(0, ROWS)
    row_at = (group * GROUP + row * MEMBER).to(tl.int64)
    is_row = row < MEMBERS
    real = is_row & (row_at >= X_FIRST) & (row_at < X_FIRST + X_COUNT)
    xs = tl.load(
        x + ((row_at - X_FIRST) * (x_token * UNIT))[:, None] + numbers,
        mask=real[:, None] & inside,
        other=0.0,
    )
    if x_entropy is not None:
        xs_entropy = tl.load(x_entropy + padded + row_at, mask=is_row, other=_NOTHING)
    if WIDEN:
        xs = xs.to(tl.float32)

    top = tl.full([ROWS], _NOTHING, tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    moment = tl.zeros([ROWS], tl.float32)
    sum_y = tl.zeros([ROWS, WIDTH], tl.float32)
    sum_z = tl.zeros([ROWS, WIDTH], tl.float32)
    for start in range(0, MEMBERS, COLUMNS):
        column = start + tl.arange(0, COLUMNS)
        at = (group * GROUP + column * MEMBER).to(tl.int64)
        there = (column < MEMBERS) & (at >= Y_FIRST) & (at < Y_FIRST + Y_COUNT)
        ys = tl.load(
            y + ((at - Y_FIRST) * (y_token * UNIT))[:, None] + numbers,
            mask=there[:, None] & inside,
            other=0.0,
        )
        if WIDEN:
            ys = ys.to(tl.float32)
        if z is not None:  # at once with y: their ways from memory are one wait
            zs = tl.load(
                z
                + (batch * z_batch + head * z_head) * UNIT
                + ((at - Y_FIRST) * (z_token * UNIT))[:, None]
                + numbers,
                mask=there[:, None] & inside,
                other=0.0,
            )
            if WIDEN:
                zs = zs.to(tl.float32)
        logits = tl.dot(xs, tl.trans(ys), input_precision="ieee") * scale
        if bias is not None:
            logits += tl.load(bias + padded + at, mask=column < MEMBERS, other=0.0)[None, :]
        if x_entropy is not None:
            whole = logits + xs_entropy[:, None]
            most = tl.max(whole, 0)
            logits -= (most + tl.log2(tl.sum(tl.exp2(whole - most[None, :]), 0)))[None, :]
        logits = tl.where(there[None, :], logits, _NOTHING)

        higher = tl.maximum(top, tl.max(logits, 1))
        shrink = tl.exp2(top - higher)
        below = logits - higher[:, None]
        weights = tl.exp2(below)
        if entropy is not None:
            moment = shrink * (moment + total * (top - higher)) + tl.sum(weights * below, 1)
        total = shrink * total + tl.sum(weights, 1)
        top = higher
        weights = weights.to(y.dtype.element_ty)
        if WIDEN:
            weights = weights.to(tl.float32)
        if mean_y is not None:
            sum_y = shrink[:, None] * sum_y + tl.dot(weights, ys, input_precision="ieee")
        if z is not None:
            sum_z = shrink[:, None] * sum_z + tl.dot(weights, zs, input_precision="ieee")

    if mean_y is not None:
        tl.store(
            mean_y + ((padded + row_at) * HEAD_DIM)[:, None] + numbers,
            sum_y / total[:, None],
            mask=is_row[:, None] & inside,
        )
    if mean_z is not None:
        real = is_row & (row_at >= OUT_FIRST) & (row_at < OUT_FIRST + OUT_COUNT)
        tl.store(
            mean_z
            + (batch * out_batch + head * out_head) * UNIT
            + ((row_at - OUT_FIRST) * (out_token * UNIT))[:, None]
            + numbers,
            sum_z / total[:, None],
            mask=real[:, None] & inside,
        )
    if entropy is not None:
        tl.store(entropy + padded + row_at, tl.log2(total) - moment / total, mask=is_row)
    if less_normaliser is not None:
        tl.store(less_normaliser + padded + row_at, -top - tl.log2(total), mask=is_row)


@torch.library.custom_op("ditbench::monarch", mutates_args=())
def monarch(  # noqa: PLR0913, PLR0917 (an operator's parameters are its schema)
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    block_size: int,
    num_steps: int,
    before: int,
) -> torch.Tensor:
    """(batch, heads, tokens, head_dim) from three of that shape whose last stride is 1; it lies as q does.

    One operator for the compiler and the counter. before: so much of the padding comes first.
    """
    batch, heads, tokens, head_dim = q.shape
    fold = _Fold(block_size, -(-tokens // block_size), before)
    sizes = (batch, heads, fold.blocks * block_size, head_dim)
    mean_q, mean_k = q, q.new_empty(sizes)
    entropy = torch.empty(sizes[:3], dtype=torch.float32, device=q.device)
    with torch.cuda.device_of(q):  # type: ignore[no-untyped-call]  # Triton launches on the current device
        for _ in range(num_steps - 1):
            fold.within(mean_q, k, mean_y=mean_k, entropy=entropy)
            mean_q = q.new_empty(sizes)
            if fold.blocks <= _MOST:
                fold.across(mean_k, q, x_entropy=entropy, mean_y=mean_q)
            else:
                bias = torch.empty_like(entropy)
                fold.across(q, mean_k, bias=entropy, less_normaliser=bias)
                fold.across(mean_k, q, bias=bias, mean_y=mean_q)
        mean_v, out = q.new_empty(sizes), torch.empty_like(q)
        fold.within(mean_q, k, v, mean_y=mean_k, mean_z=mean_v, entropy=entropy)
        fold.across(q, mean_k, mean_v, bias=entropy, mean_z=out)
    return out


monarch.register_fake(lambda q, *_others: torch.empty_like(q))


@dataclass(frozen=True)
class _Fold:
    """A sequence in blocks, with so much padding before it; launches over them and across them."""

    block_size: int
    blocks: int
    before: int

    def within(self, x: torch.Tensor, *others: torch.Tensor, **named: torch.Tensor) -> None:
        """Groups are blocks; their members follow each other."""
        groups = {"GROUPS": self.blocks, "MEMBERS": self.block_size}
        self._launch(groups | {"GROUP": self.block_size, "MEMBER": 1}, x, *others, **named)

    def across(self, x: torch.Tensor, *others: torch.Tensor, **named: torch.Tensor) -> None:
        """Groups are the tokens with one offset, a block apart."""
        groups = {"GROUPS": self.block_size, "MEMBERS": self.blocks}
        self._launch(groups | {"GROUP": 1, "MEMBER": self.block_size}, x, *others, **named)

    def _launch(
        self,
        groups: dict[str, int],
        x: torch.Tensor,
        y: torch.Tensor,
        z: torch.Tensor | None = None,
        **named: torch.Tensor,
    ) -> None:
        batch, heads, _, head_dim = x.shape
        tiles = _tiles(groups["MEMBERS"], head_dim, x.dtype, all_rows="x_entropy" in named)
        out = named.get("mean_z")
        placed = [t for t in (x, y, z, out) if t is not None]
        unit = 8 if all(s % 8 == 0 for t in placed for s in t.stride()[:-1]) else 1
        strides = [
            0 if t is None else t.stride(axis) // unit for t in (x, y, z, out) for axis in range(3)
        ]
        programs = batch * heads * groups["GROUPS"] * -(-groups["MEMBERS"] // tiles["ROWS"])
        _half_turn[(programs,)](
            x,
            y,
            z,
            *(named.get(name) for name in _OPTIONAL),
            heads,
            *strides,
            math.log2(math.e) / math.sqrt(head_dim),
            **groups,
            **self._tokens("X", x),
            **self._tokens("Y", y),
            **self._tokens("OUT", x if out is None else out),
            HEAD_DIM=head_dim,
            UNIT=unit,
            # Triton's interpreter multiplies bfloat16 as if its bits were integers.
            WIDEN=interpreted() and x.dtype == torch.bfloat16,
            **tiles,
        )

    def _tokens(self, word: str, tensor: torch.Tensor) -> dict[str, int]:
        """Which tokens of the padded sequence a tensor has: the real ones, or all."""
        count = tensor.shape[-2]
        first = 0 if count == self.blocks * self.block_size else self.before
        return {f"{word}_FIRST": first, f"{word}_COUNT": count}


_OPTIONAL = ("bias", "x_entropy", "mean_y", "mean_z", "entropy", "less_normaliser")


def _tiles(members: int, head_dim: int, dtype: torch.dtype, *, all_rows: bool) -> dict[str, int]:
    """Rows and columns of a tile and the warps that share them, by rule: nothing is tuned while it is timed.

    Products want at least 16 of each. Sixteen rows a warp, as the matrix units take them. float32 has none
    that are exact: its products fill registers, so its tiles are small.
    """
    width = max(16, triton.next_power_of_2(head_dim))
    whole = max(16, triton.next_power_of_2(members))
    small = dtype == torch.float32
    rows = whole if all_rows else min(whole, 32 if small else 64)
    columns = min(whole, 32 if small else 64 if width > 64 or all_rows else 128)
    return {
        "WIDTH": width,
        "ROWS": rows,
        "COLUMNS": columns,
        "num_warps": max(4 if small else 1, min(8, rows // 16)),
        "num_stages": 2,
    }
