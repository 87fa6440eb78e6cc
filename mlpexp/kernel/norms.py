"""Norms and sums of float32 numbers of any size: as fast as float32 where that is exact enough, else in float64.

A square of 1e-25 is no float32 number: a plain norm of such gradients reads 0 and fakes vanishing. Summing squares in
double precision takes four times as long, for a cast of all numbers. So single precision goes first, and where its
result says that a square may have been lost, that result alone is made once more in double precision. Each is chosen by
itself: a lane's do not depend on its neighbours.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.linalg import vector_norm

SMALLEST, LARGEST = 1e-12, 1e18
"""Between these a norm in single precision has kept its squares: those below 1.2e-38 (the smallest normal float32
number) add less than 1e-7 of it, for up to 8 million numbers, and no square is beyond 3e38."""
SMALLEST_OF_ROWS = 1e-8
"""The same for rows that are weighed by others' squares before they are added up."""


def is_at_hand(x: Tensor) -> bool:
    """Whether its values can be looked at without waiting for a device."""
    return x.device.type == "cpu"


def norms(blocks: Sequence[Tensor], dims: int, join: int = 0) -> Tensor:
    """√Σx² over the last `dims` dimensions of each block, in double precision, put together along dimension `join`."""
    names = tuple(range(-dims, 0))
    return _reduced(
        blocks,
        join,
        (SMALLEST, LARGEST),
        lambda x: vector_norm(x, dim=names),
        lambda x: vector_norm(x, dim=names, dtype=torch.float64),
    )


def row_norms(blocks: Sequence[Tensor]) -> Tensor:
    """√Σx² over the last dimension, as `norms`, but rows are judged together: [a, b, rows, k] → [a, b, rows].

    Rows whose squares are lost beside those of the other rows may read 0; all rows of one [a, b] are summed once more
    where their common norm is small.
    """
    return _reduced(
        blocks,
        0,
        (SMALLEST_OF_ROWS, LARGEST),
        lambda x: vector_norm(x, dim=-1),
        lambda x: vector_norm(x, dim=-1, dtype=torch.float64),
        lambda rows: vector_norm(rows, dim=-1),
    )


def sums(blocks: Sequence[Tensor], dims: int, join: int = 0) -> Tensor:
    """Σx over the last `dims` dimensions, as `norms`; the error is about 1e-7 of Σ|x|."""
    names = tuple(range(-dims, 0))
    return _reduced(
        blocks,
        join,
        (-LARGEST, LARGEST),
        lambda x: x.sum(dim=names),
        lambda x: x.sum(dim=names, dtype=torch.float64),
    )


def _reduced(
    blocks: Sequence[Tensor],
    join: int,
    within: tuple[float, float],
    quickly: Callable[[Tensor], Tensor],
    slowly: Callable[[Tensor], Tensor],
    judged_by: Callable[[Tensor], Tensor] = lambda values: values,
) -> Tensor:
    """What `quickly` says of each block where that is exact, and elsewhere what `slowly` does.

    It is exact where what it is `judged_by`, the result itself or a number for several of them, is `within` bounds.
    """
    least, most = within
    quick = [quickly(x) for x in blocks]
    joined = torch.cat(quick, dim=join)
    if joined.dtype == torch.float64:
        return joined
    judged = judged_by(joined)
    if not is_at_hand(joined):  # to look for what is to be done again would wait for the device
        exact = ((judged > least) & (judged < most)).view(*judged.shape, *[1] * (len(joined.shape) - len(judged.shape)))
        return torch.where(exact, joined.to(torch.float64), torch.cat([slowly(x) for x in blocks], dim=join))
    smallest, largest = torch.aminmax(judged.flatten(), dim=0)
    if float(smallest) > least and float(largest) < most:  # False for NaN; numbers are compared faster than tensors
        return joined.to(torch.float64)
    mended = []
    for x, values in zip(blocks, quick, strict=True):
        judged = judged_by(values)
        outside = ~((judged > least) & (judged < most))
        exact = values.to(torch.float64)
        exact[outside] = slowly(x[outside])
        mended.append(exact)
    return torch.cat(mended, dim=join)
