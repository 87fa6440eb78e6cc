"""Activation functions σ and their derivatives, elementwise, in forms that keep bits and relative precision."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Activation:
    """σ and σ′. `value(z, out)` writes σ(z); `derivative(z, x, out)` writes σ′(z), given x = σ(z)."""

    name: str
    value: Callable[[Tensor, Tensor], Tensor]
    derivative: Callable[[Tensor, Tensor, Tensor], Tensor]


def activation(name: str, negative_slope: float | None = None) -> Activation:
    """The activation of that name; `negative_slope` is leaky_relu's, 0.01 unless given."""
    if name == "leaky_relu":
        return leaky_relu(0.01 if negative_slope is None else negative_slope)
    return ACTIVATIONS[name]


def sigmoid(z: Tensor, out: Tensor | None = None) -> Tensor:
    """1/(1 + exp(−z)); no overflow harms it: 1/inf is 0."""
    out = torch.neg(z, out=out)
    return torch.reciprocal(out.exp_().add_(1), out=out)


def _sigmoid_derivative(z: Tensor, x: Tensor, out: Tensor) -> Tensor:
    torch.sub(1, x, out=out)
    return out.mul_(x)


def tanh(z: Tensor, out: Tensor | None = None) -> Tensor:
    """expm1(2z)/(expm1(2z) + 2), which keeps its relative precision near zero; clamped where it is 1."""
    bound = 10.0 if z.dtype == torch.float32 else 20.0
    out = torch.clamp(z, -bound, bound, out=out)
    torch.expm1(out.mul_(2), out=out)
    return out.div_(out + 2)


def _tanh_derivative(z: Tensor, x: Tensor, out: Tensor) -> Tensor:
    torch.mul(x, x, out=out)
    return torch.sub(1, out, out=out)


def leaky_relu(slope: float) -> Activation:
    """z above zero, slope·z below; the derivative at zero is the slope."""

    def value(z: Tensor, out: Tensor) -> Tensor:
        torch.mul(z, slope, out=out)
        return torch.where(z > 0, z, out, out=out)

    def derivative(z: Tensor, x: Tensor, out: Tensor) -> Tensor:
        return out.fill_(slope).masked_fill_(z > 0, 1.0)

    return Activation("leaky_relu", value, derivative)


ACTIVATIONS = {
    one.name: one
    for one in (
        Activation("identity", lambda z, out: out.copy_(z), lambda z, x, out: out.fill_(1.0)),
        Activation("sigmoid", sigmoid, _sigmoid_derivative),
        Activation("tanh", tanh, _tanh_derivative),
        Activation("relu", lambda z, out: torch.clamp(z, min=0, out=out), lambda z, x, out: torch.sign(x, out=out)),
        leaky_relu(0.01),
    )
}
"""By name; the derivative of relu at zero is 0."""
