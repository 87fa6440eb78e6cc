"""gelu: z·Φ(z), Φ the normal distribution function (Hendrycks & Gimpel 2016); the exact one, not the tanh fit.

Φ(z) = (1 + erf(z/√2))/2 loses its relative precision for z < 0, all of it below −5.6 in float32: there 1 + erf is 0
while gelu is −6e-8. So the tail is computed as itself, Φ(−a) = exp(−a²/2)·t·P(t) with t = 1/(1 + scale·a), a = |z|. P
interpolates exp(a²/2)·Φ(−a)/t at the Chebyshev points of t, in relative precision better than half a unit in the last
place. Measured against scipy: the relative error of gelu is below (4 + z²/2)·2⁻²³ in float32 and (8 + z²/2)·2⁻⁵² in
float64, for every z whose gelu is above 1e-36 (1e-300). The z² is what a rounding of z itself would make.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Tail(NamedTuple):
    """How Φ(−a) is computed: t = 1/(1 + scale·a), a clamped to `far`, where exp(−a²/2) is 0; P from its constant on.

    `least` is a number that vanishes beside every z² that matters.
    """

    scale: float
    far: float
    least: float
    coefficients: tuple[float, ...]


SINGLE = Tail(0.35, 15.0, 1e-37, (
    0.13961864287057624, 0.13991480395037198, 0.11941703607345935, 0.10726277300241639, -0.027482889553070378,
    0.1658018015307221, -0.26171266922639713, 0.14695092217492817, -0.029770438996600576,
))  # fmt: skip
DOUBLE = Tail(0.2, 39.0, 1e-300, (
    0.07978845604834749, 0.07978845803889192, 0.07659686267741808, 0.07021478975991453, 0.06101104697394934,
    0.04988362679133056, 0.036965213967867804, 0.02872344467313721, 0.003013773174217238, 0.044346816066072894,
    -0.09030707905843609, 0.1762362100020608, -0.269858234809862, 0.3067960466751892, -0.25798461907059744,
    0.1408990550676946, -0.03164460139829869, -0.014188861438853, 0.01338418848876186, -0.00415786006092705,
    0.0004932674321206818,
))  # fmt: skip


def value(z: Tensor, out: Tensor) -> Tensor:
    """max(z, 0) − a·Φ(−a) with a = |z|."""
    scale, far, _, coefficients = SINGLE if z.dtype == torch.float32 else DOUBLE
    torch.abs(z, out=out).clamp_(max=far)
    t = torch.reciprocal((out * scale).add_(1))
    tail = t * coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        tail.add_(coefficient).mul_(t)
    tail.mul_(out)
    tail.mul_(out.square_().mul_(-0.5).exp_())
    return torch.clamp(z, min=0, out=out).sub_(tail)


def derivative(z: Tensor, x: Tensor, out: Tensor) -> Tensor:
    """Φ(z) + z·φ(z), with Φ(z) = x/z: as (xz + least/2)/(z² + least), which is 1/2 at zero and else the quotient."""
    _, far, least, _ = SINGLE if z.dtype == torch.float32 else DOUBLE
    torch.clamp(z, -far, far, out=out)
    square = torch.square(out)
    density = (square * -0.5).exp_().mul_((2 * math.pi) ** -0.5).mul_(out)
    out.mul_(torch.clamp(x, max=far)).add_(least / 2)
    return out.div_(square.add_(least)).add_(density)


def second_derivative(z: Tensor, x: Tensor, out: Tensor) -> Tensor:
    """φ(z)(2 − z²)."""
    _, far, _, _ = SINGLE if z.dtype == torch.float32 else DOUBLE
    square = torch.square(torch.clamp(z, -far, far, out=out))
    return torch.exp(square * -0.5, out=out).mul_((2 * math.pi) ** -0.5).mul_(2 - square)
