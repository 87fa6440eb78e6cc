"""Update rules on Θ [R, P], one line an equation; hyperparameters are columns [R, 1], one number a lane.

`step(gradient, rate, out)` writes the update ΔΘ that is to be added into `out`; `rate` is γ of this step, [R, 1]. State
and columns of single lanes are kept with `select`. Rprop, which has step sizes instead of a rate, is in rprop.py.

Nothing is allocated where a whole [R, P] is passed over: each pass over memory costs as much as its arithmetic.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor

from mlpexp.kernel.arithmetic import constant


def column(values: list[float]) -> Tensor:
    """A hyperparameter of each lane, [R, 1], in double precision."""
    return torch.tensor(values, dtype=torch.float64)[:, None]


@dataclass
class Rule(ABC):
    """What all update rules share: their lanes can be chosen, their state named."""

    learning_rate: Tensor

    @abstractmethod
    def start(self, parameters: Tensor) -> None:
        """Set the state for parameters [R, P]."""

    @abstractmethod
    def step(self, gradient: Tensor, rate: Tensor, out: Tensor) -> Tensor:
        """ΔΘ [R, P] into `out`, for the gradient of the mean loss, [R, P], at learning rates [R, 1]."""

    def tensors(self) -> dict[str, Tensor]:
        """Columns and state by name, each with lanes first."""
        return {f.name: v for f in fields(self) if isinstance(v := getattr(self, f.name), Tensor)}

    def select(self, lanes: Tensor) -> Self:
        """The same rule with these lanes only."""
        chosen: dict[str, Any] = {name: value.index_select(0, lanes) for name, value in self.tensors().items()}
        return replace(self, **chosen)


@dataclass
class GradientDescent(Rule):
    """M ← βM + g; ΔΘ = −γM. With β = 0 plain gradient descent; as torch.optim.SGD with dampening 0.

    `nesterov`: ΔΘ = −γ(g + βM), the gradient at the place where M leads (Nesterov 1983, in Sutskever's form of 2013).
    """

    momentum: Tensor
    nesterov: bool = False
    velocity: Tensor | None = None

    def start(self, parameters: Tensor) -> None:
        """M = 0."""
        self.velocity = torch.zeros_like(parameters)

    @cached_property
    def _momentum(self) -> Tensor:
        """β in the precision of the parameters."""
        assert self.velocity is not None
        return self.momentum.to(self.velocity.dtype)

    def step(self, gradient: Tensor, rate: Tensor, out: Tensor) -> Tensor:
        """−γM, or −γ(g + βM)."""
        assert self.velocity is not None
        momentum, factor = self._momentum, -rate.to(gradient.dtype)
        self.velocity.mul_(momentum).add_(gradient)
        if self.nesterov:
            return torch.mul(self.velocity, momentum, out=out).add_(gradient).mul_(factor)
        return torch.mul(self.velocity, factor, out=out)


@dataclass
class RMSProp(Rule):
    """V ← βV + (1−β)g²; ΔΘ = −γ g/(√V + ε). Without ε the lecture's form; where V = 0 the update is 0.

    Tieleman & Hinton 2012; torch.optim.RMSprop has ε = 1e-8. √V is kept instead of V, by a root of squares that is
    scaled to the larger of its two terms: g² of a gradient of 1e-25 is 0 in float32, and g/√V would be infinite.
    Without torch.where and comparisons, each of which takes as long as a division, or thirty times that.
    """

    beta: Tensor
    epsilon: Tensor
    root: Tensor | None = None

    def start(self, parameters: Tensor) -> None:
        """√V = 0."""
        self.root = torch.zeros_like(parameters)

    @cached_property
    def _columns(self) -> tuple[Tensor, Tensor, Tensor]:
        """√β, √(1 − β) and ε in the precision of the parameters."""
        assert self.root is not None
        dtype = self.root.dtype
        return self.beta.sqrt().to(dtype), (1 - self.beta).sqrt().to(dtype), self.epsilon.to(dtype)

    def step(self, gradient: Tensor, rate: Tensor, out: Tensor) -> Tensor:
        """−γ g over √V with its floor."""
        assert self.root is not None
        keep, take, epsilon = self._columns
        self.root.mul_(keep)
        new = torch.abs(gradient, out=out).mul_(take)
        scale = torch.maximum(new, self.root).clamp_(min=torch.finfo(new.dtype).tiny)  # 0/0 is none
        self.root.div_(scale).square_().add_(new.div_(scale).square_()).sqrt_().mul_(scale)
        floor = torch.add(self.root, epsilon, out=scale)
        torch.div(gradient, floor, out=out).nan_to_num_(0.0, 0.0, 0.0)  # 0 where the floor is 0
        return out.mul_(-rate.to(gradient.dtype))


@dataclass
class Adam(Rule):
    """M, V: moving averages of g and g², bias-corrected; ΔΘ = −γ M̂/(√V̂ + ε), or −γ M̂/√(V̂ + ε) with ε inside.

    Kingma & Ba 2015; `inside` is the lecture's form. The powers β^t are kept in double precision.
    """

    beta1: Tensor
    beta2: Tensor
    epsilon: Tensor
    inside: bool = False
    mean: Tensor | None = None
    square: Tensor | None = None
    power1: Tensor | None = None
    power2: Tensor | None = None

    def start(self, parameters: Tensor) -> None:
        """M = V = 0, β⁰ = 1."""
        self.mean, self.square = torch.zeros_like(parameters), torch.zeros_like(parameters)
        self.power1, self.power2 = torch.ones_like(self.beta1), torch.ones_like(self.beta2)

    @cached_property
    def _columns(self) -> tuple[Tensor, Tensor, Tensor]:
        """1 − β₁, 1 − β₂ and ε in the precision of the parameters."""
        assert self.mean is not None
        dtype = self.mean.dtype
        return (1 - self.beta1).to(dtype), (1 - self.beta2).to(dtype), self.epsilon.to(dtype)

    def step(self, gradient: Tensor, rate: Tensor, out: Tensor) -> Tensor:
        """−γ M̂ over the root of V̂ with its floor."""
        assert self.mean is not None
        assert self.square is not None
        assert self.power1 is not None
        assert self.power2 is not None
        dtype, (take1, take2, epsilon), one = gradient.dtype, self._columns, constant(1, self.power1)
        self.power1, self.power2 = self.power1 * self.beta1, self.power2 * self.beta2
        self.mean.lerp_(gradient, take1)
        self.square.lerp_(torch.mul(gradient, gradient, out=out), take2)
        correction = (one - self.power2).reciprocal_()
        if self.inside:
            inverse = torch.mul(self.square, correction.to(dtype), out=out).add_(epsilon).rsqrt_()
        else:
            inverse = root(self.square, out).mul_(correction.sqrt().to(dtype)).add_(epsilon).reciprocal_()
        return inverse.mul_(self.mean).mul_((-rate / (one - self.power1)).to(dtype))


def root(x: Tensor, out: Tensor) -> Tensor:
    """√x of x ≥ 0 into another tensor `out`, as x/√x: 0 at 0, else to two units in the last place.

    torch.sqrt takes a slow way, four times as long, where numbers are 0 or below 1e-30: as squares of gradients are.
    """
    return torch.clamp(x, min=torch.finfo(x.dtype).tiny, out=out).rsqrt_().mul_(x)
