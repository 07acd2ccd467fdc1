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
2 T launches, and up to T - 1 more where there are more than MOST_BLOCKS blocks.

A group's members are tokens of the padded sequence, number group * GROUP + member * MEMBER. What is handed on
lies in that order, (batch, heads, N', d) or (batch, heads, N'). Logits, entropies and normalisers are in
float32 and to base 2; products take the dtype of q and add up in float32.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
import triton
import triton.language as tl

from ditbench.kernels import MOST_BLOCKS, interpreted

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
            if fold.blocks <= MOST_BLOCKS:
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


_OPTIONAL = ("bias", "x_entropy", "mean_y", "mean_z", "entropy", "less_normaliser")


@dataclass(frozen=True)
class _Fold:
    """A sequence in blocks, with so much padding before it; launches over them and across them."""

    block_size: int
    blocks: int
    before: int

    def within(self, x: torch.Tensor, *others: torch.Tensor, **named: torch.Tensor) -> None:
        """Groups are blocks; their members follow each other."""
        self._launch(x, *others, across=False, **named)

    def across(self, x: torch.Tensor, *others: torch.Tensor, **named: torch.Tensor) -> None:
        """Groups are the tokens with one offset, a block apart."""
        self._launch(x, *others, across=True, **named)

    def _launch(
        self,
        x: torch.Tensor,
        y: torch.Tensor,
        z: torch.Tensor | None = None,
        *,
        across: bool,
        **named: torch.Tensor,
    ) -> None:
        batch, heads, _, head_dim = x.shape
        constants = _constants(
            self, head_dim, x.dtype, across=across, all_rows="x_entropy" in named
        )
        out = named.get("mean_z", x)
        placed = (x, y, y if z is None else z, out)
        strides = [stride for tensor in placed for stride in tensor.stride()[:3]]
        unit = 1 if any(stride % 8 for stride in strides) else 8
        tiles = -(-constants["MEMBERS"] // constants["ROWS"])
        _half_turn[(batch * heads * constants["GROUPS"] * tiles,)](
            x,
            y,
            z,
            *(named.get(name) for name in _OPTIONAL),
            heads,
            *(stride // unit for stride in strides),
            math.log2(math.e) / math.sqrt(head_dim),
            X_FIRST=self._first(x),
            X_COUNT=x.shape[-2],
            Y_FIRST=self._first(y),
            Y_COUNT=y.shape[-2],
            OUT_FIRST=self._first(out),
            OUT_COUNT=out.shape[-2],
            UNIT=unit,
            **constants,
        )

    def _first(self, tensor: torch.Tensor) -> int:
        """The first token of the padded sequence that a tensor has: it has the real ones, or all."""
        return 0 if tensor.shape[-2] == self.blocks * self.block_size else self.before


@functools.cache  # a launch must take less time than what it launches
def _constants(
    fold: _Fold, head_dim: int, dtype: torch.dtype, *, across: bool, all_rows: bool
) -> dict[str, int]:
    """Where members of groups lie, and tiles: by rule, for nothing is tuned while it is timed.

    Products want at least 16 rows and columns. Four warps share 64 rows, as Hopper's matrix units take them;
    a smaller group gets a warp for each 16 rows, since two would wait for each other at every sum. float32
    has no units that are exact: its products fill registers, so its tiles are small, and have many warps.
    all_rows: a tile must hold all rows of a group.
    """
    groups, members = fold.blocks, fold.block_size
    if across:
        groups, members = members, groups
    width, whole = (max(16, 1 << (size - 1).bit_length()) for size in (head_dim, members))
    if dtype == torch.float32:
        rows, columns, warps = min(whole, 32), min(whole, 32), 8 if whole > 16 else 4
    else:
        rows = 64 if whole >= 64 else 16
        columns, warps = min(whole, 128 if width <= 64 else 64), rows // 16
    if all_rows:
        rows, columns, warps = whole, min(columns, 64), max(warps, whole // 16)
    return {
        "GROUPS": groups,
        "MEMBERS": members,
        "GROUP": 1 if across else fold.block_size,
        "MEMBER": fold.block_size if across else 1,
        "HEAD_DIM": head_dim,
        "WIDTH": width,
        "ROWS": rows,
        "COLUMNS": columns,
        # Triton's interpreter multiplies bfloat16 as if its bits were integers.
        "WIDEN": interpreted() and dtype == torch.bfloat16,
        "num_warps": warps,
        "num_stages": 2,
    }
