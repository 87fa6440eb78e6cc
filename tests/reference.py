"""Slow twins of networks and losses, which go another way: autograd and torch.nn, one lane, one example at a time."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from mlpexp.activation_schema import ACTIVATION_NAMES as ACTIVATION_NAMES
from mlpexp.config import Model, Training
from mlpexp.kernel.layout import Layout
from mlpexp.kernel.losses import LOSSES, OUTPUTS

SAMPLERS: tuple[str, ...] = get_args(Training.model_fields["sampler"].annotation)
LOSS_NAMES: tuple[str, ...] = tuple(n for n in get_args(Training.model_fields["loss"].annotation) if n != "auto")
OUTPUT_NAMES: tuple[str, ...] = tuple(n for n in get_args(Model.model_fields["output"].annotation) if n != "auto")


OWN_TWINS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda z: z,
    "linear": lambda z: z,  # with default parameters
    "softplus": lambda z: torch.logaddexp(z, torch.zeros_like(z)),  # torch's is linear above 20
}
"""Where torch has no function of that name, or another one."""


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """torch's own function of that name: a new activation finds its twin by itself, or fails here."""
    if name in OWN_TWINS:
        return OWN_TWINS[name]
    found: Callable[[Tensor], Tensor] | None = getattr(functional, name, None)
    assert found is not None, f"torch.nn.functional has no {name}; give it a twin in tests/reference.py"
    return found


def output(name: str, z: Tensor) -> Tensor:
    """f(z) of [B, k]."""
    outputs: dict[str, Callable[[Tensor], Tensor]] = {
        "identity": lambda z: z,
        "relu": torch.relu,
        "sigmoid": torch.sigmoid,
        "softmax": nn.Softmax(1),
    }
    return outputs[name](z)


def example_losses(loss: str, output_name: str, z: Tensor, targets: Tensor, huber_delta: float = 1.0) -> Tensor:
    """Each example's own loss, [B], by torch's functions; of `…_mean` their mean over outputs is torch's default."""
    if loss == "cross_entropy" and output_name == "softmax":
        return functional.cross_entropy(z, targets, reduction="none")
    kind = loss.removesuffix("_mean")
    if kind == "cross_entropy":
        terms = functional.binary_cross_entropy_with_logits(z, targets, reduction="none")
    elif kind == "huber":
        terms = functional.huber_loss(output(output_name, z), targets, reduction="none", delta=huber_delta)
    else:
        twin = {"mse": functional.mse_loss, "mae": functional.l1_loss}[kind]
        terms = twin(output(output_name, z), targets, reduction="none")
    return terms.sum(1) if kind == loss else terms.mean(1)


def combinations(outputs: int = 3) -> list[tuple[str, str]]:
    """Every (loss, output) that makes sense."""
    return [(l, o) for l, o in itertools.product(LOSSES, OUTPUTS) if is_valid(l, o, outputs)]


def is_valid(loss: str, output_name: str, outputs: int) -> bool:
    """Cross-entropy needs probabilities, softmax several outputs, and there is no mean over those of a softmax."""
    if output_name == "softmax" and outputs < 2:
        return False
    allowed = {"cross_entropy": ("sigmoid", "softmax"), "cross_entropy_mean": ("sigmoid",)}
    return output_name in allowed.get(loss, (output_name,))


def draw_targets(loss: str, output_name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Targets that suit the loss: one-hot, zeros and ones, or reals."""
    if not loss.startswith("cross_entropy"):
        return torch.randn(shape, generator=generator, dtype=torch.float64)
    if output_name == "softmax":
        labels = torch.randint(shape[-1], shape[:-1], generator=generator)
        return functional.one_hot(labels, shape[-1]).double()
    return torch.randint(2, shape, generator=generator).double()


@dataclass
class Backward:
    """Of one lane: gradients of the mean loss by W_l and b_l, and δ_l [B, k], X and z of each layer."""

    weights: list[Tensor]
    biases: list[Tensor]
    deltas: list[Tensor]
    z: list[Tensor]
    losses: Tensor


def backward(
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    sigma: Callable[[Tensor], Tensor],
    loss: str,
    output_name: str,
    inputs: Tensor,
    targets: Tensor,
    masks: Sequence[Tensor] = (),
) -> Backward:
    """One lane's forward and backward pass by autograd; an example's loss depends on no other example."""
    leaves = [w.detach().clone().requires_grad_() for w in (*weights, *biases)]
    x, zs = inputs, []
    for l in range(len(weights)):
        z = x @ leaves[l] + (leaves[len(weights) + l] if biases else 0.0)
        zs.append(z)
        x = sigma(z) * (masks[l] if masks and l < len(masks) else 1.0)
    losses = example_losses(loss, output_name, zs[-1], targets)
    deltas = torch.autograd.grad(losses.sum(), zs, retain_graph=True)
    gradients = torch.autograd.grad(losses.mean(), leaves)
    return Backward(
        list(gradients[: len(weights)]), list(gradients[len(weights) :]), list(deltas), [z.detach() for z in zs], losses
    )


def unpack(layout: Layout, row: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """W_l and b_l of one row of Θ, cut by counting."""
    weights, biases, start = [], [], 0
    for k_in, k_out in itertools.pairwise(layout.widths):
        weights.append(row[start : start + k_in * k_out].reshape(k_in, k_out))
        start += k_in * k_out
        if layout.bias:
            biases.append(row[start : start + k_out])
            start += k_out
    assert start == len(row)
    return weights, biases


def pack(weights: Sequence[Tensor], biases: Sequence[Tensor]) -> Tensor:
    """One row of Θ."""
    pairs = zip(weights, biases, strict=True) if biases else ((w,) for w in weights)
    return torch.cat([part.reshape(-1) for pair in pairs for part in pair])


class Perceptron(nn.Module):
    """The network as one would write it in torch, with the numbers of one row [P + S].

    `sigmas` has one of each hidden layer; `z` keeps each layer's z_l of the last forward pass, `x` each X_{l+1}.
    """

    def __init__(self, layout: Layout, row: Tensor, sigmas: Sequence[Callable[[Tensor], Tensor]]) -> None:
        super().__init__()
        self.layout, self.sigmas = layout, sigmas
        pairs = itertools.pairwise(layout.widths)
        self.linears = [nn.Linear(k_in, k_out, bias=layout.bias, dtype=row.dtype) for k_in, k_out in pairs]
        self.layers = nn.ModuleList(self.linears)
        norm = layout.batch_norm
        widths = layout.widths[1:-1] if norm else ()
        self.batch_norms = [
            nn.BatchNorm1d(k, norm.epsilon, norm.momentum, norm.affine, dtype=row.dtype) for k in widths if norm
        ]
        self.norms = nn.ModuleList(self.batch_norms)
        state = self.state_dict()
        for name, start, shape in layout.named():
            part = row[start : start + math.prod(shape)].view(shape)
            state[name].copy_(part.T if len(shape) == 2 else part)

    def forward(self, x: Tensor, masks: Sequence[Tensor] = ()) -> Tensor:
        """z_L."""
        norm, self.z, self.x = self.layout.batch_norm, list[Tensor](), list[Tensor]()
        for l, (linear, sigma) in enumerate(zip(self.linears[:-1], self.sigmas, strict=False)):
            z = linear(x)
            self.z.append(z)
            f = sigma(self.batch_norms[l](z) if norm and norm.placement == "before" else z)
            f = self.batch_norms[l](f) if norm and norm.placement == "after" else f
            skips = self.layout.skip and l > 0 and f.shape == x.shape
            f = f * masks[l] if masks else f
            x = f + x if skips else f
            self.x.append(x)
        last: Tensor = self.linears[-1](x)
        self.z.append(last)
        return last

    def free(self) -> list[nn.Parameter]:
        """What no penalty touches: b_l of each layer, γ and β of each norm."""
        weights = {id(linear.weight) for linear in self.linears}
        return [parameter for parameter in self.parameters() if id(parameter) not in weights]

    def gradients(self) -> dict[str, Tensor]:
        """What autograd left behind, under torch's names, W_l as ours [k_in, k_out]."""
        found = {name: p.grad for name, p in self.named_parameters() if p.grad is not None}
        return {name: gradient.T if gradient.ndim == 2 else gradient for name, gradient in found.items()}

    def row(self) -> Tensor:
        """Θ, and running statistics behind it, as they are now."""
        state = self.state_dict()
        row = torch.full((self.layout.size + self.layout.statistics,), torch.nan, dtype=torch.float64)
        for name, start, shape in self.layout.named():
            row[start : start + math.prod(shape)] = (state[name].T if len(shape) == 2 else state[name]).reshape(-1)
        return row

    def groups(self, l2: float) -> list[dict[str, Any]]:
        """Parameter groups for torch.optim: weights decay, biases are free."""
        weights = [linear.weight for linear in self.linears]
        return [{"params": weights, "weight_decay": l2}, {"params": self.free(), "weight_decay": 0.0}]


def clip(parameters: list[torch.nn.Parameter], longest: float) -> None:
    """Scale all gradients so that together they are no longer; torch's clip_grad_norm_ falls short by 1e-6."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = torch.cat([g.flatten() for g in gradients]).norm()
    for g in gradients:
        g.mul_(min(1.0, longest / float(norm)))
