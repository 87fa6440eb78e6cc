"""The products on which the promise to the bit rests: a lane gets the same bits whatever R and its place in memory.

Six rules hold in the whole kernel (tests/test_arithmetic.py reads the source for them):
(a) MKL_CBWR=AUTO,STRICT is set before the process's first product (`require_stable_products` tells if it was not);
(b) every matrix product goes through `product`: with one result column, and on some processors with one row, BLAS takes
    another path at R = 1;
(c) elementwise functions only from `+ − × ÷ sqrt rsqrt exp expm1 log log1p tanh erf clamp where lerp addcmul addcdiv`
    and exact ones (abs, neg, sign, maximum, nan_to_num, comparisons, bits): torch's own sigmoid, softplus, silu, elu,
    selu give other bits in a buffer's tail;
(d) reductions only by `sum`, `vector_norm`, `amax`, `amin`, `aminmax`, `argmax` over named dims, and no `sum` where
    lanes are the last dimension (its order would depend on R); `scatter_add` only of whole numbers, exact in any order;
(e) what differs between lanes is a column [R, 1], also in a cohort of equals;
(f) LAPACK only through `singular_values` and `largest_eigenvalue`, one matrix after the other.
"""

import os
from functools import cache

import torch
from torch import Tensor


class UnstableProducts(RuntimeError):
    """This process's matrix products depend on where their operands and results lie in memory."""


def product(left: Tensor, right: Tensor, out: Tensor | None = None) -> Tensor:
    """Matrix product lane by lane: [R, a, b] × [R, b, c] → [R, a, c], into `out` (contiguous) if given."""
    if right.shape[2] == 1:
        return torch.sum(left * right.transpose(1, 2), dim=2, keepdim=True, out=out)
    if left.shape[:2] == (1, 1):  # as one of several
        one = torch.bmm(left.expand(2, -1, -1), right.expand(2, -1, -1))[:1]
        return one if out is None else out.copy_(one)
    return torch.bmm(left, right, out=out)


@cache
def fewer_rows_have_the_bits(few: int, many: int, inner: int, columns: int, dtype: torch.dtype, device: str) -> bool:
    """Whether the rows of a product have, here, the bits that they have as the first of a product of `many` rows.

    Which way BLAS takes depends on shapes alone: numbers drawn at random tell. Two lanes stand for any number of them.
    """
    generator = torch.Generator().manual_seed(0)
    left, right = (
        torch.randn(2, *shape, generator=generator, dtype=dtype).to(device)  # with all the digits of their dtype
        for shape in ((many, inner), (inner, columns))
    )
    first = left[:, :few].contiguous()
    shared = product(first[:1].expand(2, -1, -1), right), product(left[:1].expand(2, -1, -1), right)
    return all(torch.equal(a, b[:, :few]) for a, b in (shared, (product(first, right), product(left, right))))


def constant(value: float, like: Tensor) -> Tensor:
    """A number as a tensor of no dimensions, with the dtype of `like`.

    Operations take it at once. A Python number they first turn into a tensor, then into another of the right dtype,
    which takes them two to four times as long where lanes are few and narrow. The bits are the same.
    """
    return _constant(value, like.dtype)


@cache
def _constant(value: float, dtype: torch.dtype) -> Tensor:
    return torch.tensor(value, dtype=dtype)


def singular_values(matrices: Tensor) -> Tensor:
    """Singular values of each matrix [R, a, b], largest first, [R, min(a, b)] in double precision.

    NaN for a matrix that is not finite. Each is copied to a place of its own: LAPACK sees neither R nor alignment.
    """
    finite = torch.isfinite(matrices).all(dim=2).all(dim=1)
    safe = torch.where(finite[:, None, None], matrices, 0.0)
    values = torch.stack([torch.linalg.svdvals(one.to(torch.float64, copy=True)) for one in safe])
    return torch.where(finite[:, None], values, torch.nan)


def largest_eigenvalue(matrices: Tensor) -> Tensor:
    """Largest eigenvalue of each symmetric matrix [R, a, a], [R] in double precision; NaN if it is not finite."""
    finite = torch.isfinite(matrices).all(dim=2).all(dim=1)
    safe = torch.where(finite[:, None, None], matrices, 0.0)
    values = torch.stack([torch.linalg.eigvalsh(one.to(torch.float64, copy=True))[-1] for one in safe])
    return torch.where(finite, values, torch.nan)


def is_finite(rows: Tensor) -> Tensor:
    """Whether all of a lane's numbers are, [R], for rows [R, P]; both ends are NaN if one number is."""
    infinity = constant(torch.inf, rows)
    return (rows.amax(dim=1) < infinity) & (rows.amin(dim=1) > -infinity)


def silence(rows: Tensor, alive: Tensor) -> Tensor:
    """Make all numbers of lanes that are not `alive` [R] zero, in place, NaN among them; rows are [R, P].

    0 · NaN is NaN, and torch.where takes ten times as long as an AND of bits.
    """
    whole = torch.int32 if rows.dtype == torch.float32 else torch.int64
    rows.view(whole).bitwise_and_(-alive.to(whole)[:, None])
    return rows


def require_stable_products() -> None:
    """Raise UnstableProducts unless misaligned products have the bits of aligned ones."""
    generator = torch.Generator().manual_seed(0)
    for rows, inner, columns in ((64, 64, 10), (7, 33, 33), (64, 10, 64), (33, 64, 2), (1, 33, 64)):
        left = torch.randn(3, rows, inner, generator=generator)
        right = torch.randn(3, inner, columns, generator=generator)
        expected = product(left, right)
        for offset in (1, 3, 7, 11):
            place = _moved(torch.empty_like(expected), offset)
            moved = product(_moved(left, offset), _moved(right, 16 - offset), out=place)
            alone = product(left[1:2], right[1:2])
            if not (torch.equal(moved, expected) and torch.equal(alone[0], expected[1])):
                raise UnstableProducts(
                    "matrix products here depend on where their operands lie in memory "
                    f"(MKL_CBWR={os.environ.get('MKL_CBWR', 'unset')}); "
                    "set MKL_CBWR=AUTO,STRICT in the environment before Python starts, or use executor=local"
                )


def _moved(tensor: Tensor, offset: int) -> Tensor:
    """A copy that begins `offset` numbers after an aligned address."""
    buffer = torch.empty(tensor.numel() + 32, dtype=tensor.dtype)
    return buffer[offset : offset + tensor.numel()].view(tensor.shape).copy_(tensor)
