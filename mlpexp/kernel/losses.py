"""Losses of each example, and δ at the output: the derivative of that example's own loss by its z, not divided by B."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mlpexp.kernel.activations.sigmoid import value as sigmoid
from mlpexp.kernel.arithmetic import constant


@dataclass(frozen=True)
class Output:
    """The output function f. `value(z)` is f(z); `pull(g, f)` turns ∂ℓ/∂f into ∂ℓ/∂z.

    `turn(g, f, df)` is how `pull(g, f)` changes where f changes by df and g does not.
    """

    value: Callable[[Tensor], Tensor]
    pull: Callable[[Tensor, Tensor], Tensor]
    turn: Callable[[Tensor, Tensor, Tensor], Tensor]


def softmax(z: Tensor) -> Tensor:
    """Probabilities over the last dimension; the largest z is taken off first, so nothing overflows."""
    raised = torch.exp(z - z.amax(dim=2, keepdim=True))
    return raised / raised.sum(dim=2, keepdim=True)


OUTPUTS = {
    "identity": Output(lambda z: z, lambda g, f: g, lambda g, f, df: torch.zeros_like(df)),
    "relu": Output(
        lambda z: torch.clamp(z, min=0),
        lambda g, f: torch.where(f > 0, g, 0.0),
        lambda g, f, df: torch.zeros_like(df),
    ),
    "sigmoid": Output(sigmoid, lambda g, f: g * f * (1 - f), lambda g, f, df: g * (1 - 2 * f) * df),
    "softmax": Output(
        softmax,
        lambda g, f: f * (g - (g * f).sum(dim=2, keepdim=True)),
        lambda g, f, df: df * (g - (g * f).sum(dim=2, keepdim=True)) - f * (g * df).sum(dim=2, keepdim=True),
    ),
}


def cross_entropy(z: Tensor, targets: Tensor, output: str) -> tuple[Tensor, Tensor]:
    """−Σ y ln f [R, B], from z; with sigmoid outputs the binary form, summed over outputs. δ = f − y in both."""
    if output == "softmax":
        shifted = z - z.amax(dim=2, keepdim=True)
        raised = torch.exp(shifted)
        total = raised.sum(dim=2, keepdim=True)
        losses = (targets * (torch.log(total) - shifted)).sum(dim=2)
        return losses, raised / total - targets
    losses = torch.clamp(z, min=0) - z * targets + torch.log1p(torch.exp(-z.abs()))
    return losses.sum(dim=2), sigmoid(z) - targets


def squared(error: Tensor, bend: float) -> tuple[Tensor, Tensor]:
    """e² and its derivative."""
    return torch.square(error), error * constant(2, error)


def absolute(error: Tensor, bend: float) -> tuple[Tensor, Tensor]:
    """|e| and its derivative, 0 at zero."""
    return error.abs(), torch.sign(error)


def huber(error: Tensor, bend: float) -> tuple[Tensor, Tensor]:
    """e²/2 up to |e| = bend, from there on the straight line bend(|e| − bend/2) (Huber 1964)."""
    size = error.abs()
    return torch.where(size <= bend, torch.square(error) / 2, bend * (size - bend / 2)), error.clamp(-bend, bend)


OF_ERRORS = {"mse": squared, "mae": absolute, "huber": huber}
"""(e = f − y [R, B, k], Huber's bend) → the term of each output, and its derivative by e, [R, B, k]."""

BENDS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "mse": lambda error, bend: torch.full_like(error, 2),
    "mae": lambda error, bend: torch.zeros_like(error),
    "huber": lambda error, bend: torch.where(error.abs() < bend, torch.ones_like(error), 0.0),
}
"""The terms' second derivatives by e, [R, B, k]."""

MEAN = "_mean"
LOSSES = tuple(name + scaling for name in ("cross_entropy", *OF_ERRORS) for scaling in ("", MEAN))
"""Sums over outputs, as the lecture has them; with `_mean` means over outputs, torch's scaling."""


@dataclass(frozen=True)
class Loss:
    """One of LOSSES, of an output function, as a function of z [R, B, k] and targets [R, B, k].

    `huber_delta` is the error at which Huber's loss bends.
    """

    name: str
    output: str
    huber_delta: float = 1.0

    def __call__(self, z: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """(losses of examples [R, B], δ [R, B, k])."""
        kind = self.name.removesuffix(MEAN)
        if kind == "cross_entropy":
            losses, delta = cross_entropy(z, targets, self.output)
        else:
            output = OUTPUTS[self.output]
            f = output.value(z)
            terms, slopes = OF_ERRORS[kind](f - targets, self.huber_delta)
            losses, delta = terms.sum(dim=2), output.pull(slopes, f)
        return (
            (losses, delta)
            if kind == self.name
            else (losses / constant(z.shape[2], z), delta / constant(z.shape[2], z))
        )

    def curvature(self, z: Tensor, targets: Tensor, change: Tensor) -> Tensor:
        """How δ changes, to first order, where z changes by `change`, [R, B, k]; at a kink, as on its flat side."""
        kind, output = self.name.removesuffix(MEAN), OUTPUTS[self.output]
        f = output.value(z)
        df = output.pull(change, f)  # the Jacobians of all our outputs are symmetric
        if kind == "cross_entropy":
            changed = df  # δ = f − y
        else:
            _, slopes = OF_ERRORS[kind](f - targets, self.huber_delta)
            bends = BENDS[kind](f - targets, self.huber_delta)
            changed = output.pull(bends * df, f) + output.turn(slopes, f, df)
        return changed if kind == self.name else changed / z.shape[2]


def smoothed(targets: Tensor, shares: Tensor, output: str) -> Tensor:
    """(1 − ε)y + ε/K for targets [R, B, k] and ε [R, 1]: label smoothing (Szegedy et al. 2016).

    K is the number of classes: k of a softmax, and 2 of a sigmoid, each of which tells two classes apart.
    """
    share = shares.to(targets.dtype)[:, :, None]
    return targets * (1 - share) + share / (targets.shape[2] if output == "softmax" else 2)


def correct(z: Tensor, labels: Tensor, output: str) -> Tensor:
    """Which examples are classified right, [R, B]: by the largest f (the first of equals), or a single f above 1/2.

    f is compared through z, which has not lost its order to rounding; ReLU's off outputs are equal.
    """
    f = OUTPUTS[output].value(z) if output == "relu" else z
    half = 0.0 if output == "sigmoid" else 0.5
    chosen = (f[:, :, 0] > half).long() if f.shape[2] == 1 else f.argmax(dim=2)
    return chosen == labels
