"""Slow twins, which go another way: autograd, torch.nn and torch.optim; one lane, one example, one number at a time."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mlpexp.activation_schema import ACTIVATION_NAMES as ACTIVATION_NAMES
from mlpexp.composition import compose
from mlpexp.config import Config, Model, Training
from mlpexp.kernel.layout import Layout
from mlpexp.kernel.losses import LOSSES, OUTPUTS
from mlpexp.kernel.streams import epoch_batches
from mlpexp.lane_state import Lanes, Plan
from mlpexp.lanes import build
from mlpexp.records import Ending, Piece
from mlpexp.training import train

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
    outputs = {"identity": lambda z: z, "relu": torch.relu, "sigmoid": torch.sigmoid, "softmax": nn.Softmax(1)}
    found: Tensor = outputs[name](z)  # type: ignore[operator]
    return found


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


def scalar_adam(
    gradients: Sequence[float], learning_rate: float, beta1: float, beta2: float, epsilon: float, inside: bool
) -> list[float]:
    """The updates of one parameter, one Python number at a time (Kingma & Ba 2015, algorithm 1)."""
    m = v = 0.0
    updates = []
    for t, g in enumerate(gradients, start=1):
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
        m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
        floor = math.sqrt(v_hat + epsilon) if inside else math.sqrt(v_hat) + epsilon
        updates.append(-learning_rate * m_hat / floor)
    return updates


def scalar_descent(gradients: Sequence[float], learning_rate: float, momentum: float) -> list[float]:
    """The updates of one parameter under gradient descent with momentum."""
    velocity, updates = 0.0, []
    for g in gradients:
        velocity = momentum * velocity + g
        updates.append(-learning_rate * velocity)
    return updates


def scalar_nesterov(gradients: Sequence[float], learning_rate: float, momentum: float) -> list[float]:
    """The updates of one parameter under Nesterov's momentum."""
    velocity, updates = 0.0, []
    for g in gradients:
        velocity = momentum * velocity + g
        updates.append(-learning_rate * (g + momentum * velocity))
    return updates


def scalar_rmsprop(gradients: Sequence[float], learning_rate: float, beta: float, epsilon: float) -> list[float]:
    """The updates of one parameter under RMSProp, as the lecture writes it; V = 0 without a floor is no update."""
    v, updates = 0.0, []
    for g in gradients:
        v = beta * v + (1 - beta) * g * g
        floor = math.sqrt(v) + epsilon
        updates.append(-learning_rate * g / floor if floor else 0.0)
    return updates


def scalar_rprop(
    gradients: Sequence[float], first: float, minus: float, plus: float, least: float, most: float, backtracking: bool
) -> list[float]:
    """The updates of one parameter under Rprop+ or iRprop−, case by case as the papers list them."""
    size, last_g, last, updates = first, 0.0, 0.0, []
    for g in gradients:
        if g * last_g > 0:
            size *= plus
        elif g * last_g < 0:
            size *= minus
        size = min(max(size, least), most)
        if g * last_g < 0:
            update, last_g = (-last if backtracking else 0.0), 0.0
        else:
            update, last_g = -math.copysign(size, g) if g else 0.0, g
        last = update
        updates.append(update)
    return updates


# --- running the code under test ---


@dataclass
class History:
    """All that one lane left behind; rows after its last step are dropped, as the journal drops them."""

    ending: Ending
    steps: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    measured_at: dict[str, list[int]] = field(default_factory=dict)
    measured: dict[str, list[np.ndarray]] = field(default_factory=dict)
    evaluations: dict[int, dict[str, float]] = field(default_factory=dict)

    def column(self, quantity: str) -> np.ndarray:
        """[t, L], only the measured steps."""
        return np.array(self.measured[quantity])

    def flat(self) -> dict[str, bytes]:
        """Every number as bytes, any NaN equal to any other."""
        found = {
            "status": self.ending.status.encode(),
            "steps": repr((self.steps, self.measured_at, self.ending.last_step, self.ending.best_step)).encode(),
            "losses": canonical(np.array(self.losses)),
            "final": canonical(self.ending.final),
            "best": canonical(self.ending.best),
        }
        found |= {f"measured/{name}": canonical(np.array(rows)) for name, rows in self.measured.items()}
        found |= {f"scores/{name}": canonical(np.array(value)) for name, value in self.ending.scores.items()}
        for step, values in self.evaluations.items():
            found |= {f"{step}/{name}": canonical(np.array(value)) for name, value in values.items()}
        return found


def canonical(values: np.ndarray) -> bytes:
    """Bytes in which NaN equals NaN; −0 and 0 still differ."""
    return np.where(np.isnan(values), np.nan, values).astype(values.dtype).tobytes()


def differences(one: History, other: History) -> list[str]:
    """Names of what is not the same, bit for bit."""
    a, b = one.flat(), other.flat()
    return sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))


@contextmanager
def flushed() -> Iterator[None]:
    """Denormals are flushed inside, as in a training process."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def events_of(plan: Plan, lanes: Lanes) -> list[Piece | Ending]:
    """All that training yields, but for the pauses."""
    with flushed():
        return [event for event in train(plan, lanes) if isinstance(event, Piece | Ending)]


def histories(plan: Plan, lanes: Lanes) -> dict[int, History]:
    """Train, and sort what comes out by lane number."""
    return sort_by_lane(events_of(plan, lanes))


def sort_by_lane(events: Sequence[Piece | Ending]) -> dict[int, History]:
    """The histories of all lanes that ended."""
    found = {event.lane: History(event) for event in events if isinstance(event, Ending)}
    for piece in events:
        if isinstance(piece, Piece):
            for column, lane in enumerate(piece.lanes):
                _append(found[lane], piece, column)
    return found


def _append(history: History, piece: Piece, column: int) -> None:
    if piece.steps[0] <= history.ending.last_step and piece.evaluation:
        history.evaluations[int(piece.steps[0])] = {n: v[column] for n, v in piece.evaluation.items()}
    for row, step in enumerate(piece.steps):
        if step > history.ending.last_step:
            break
        history.steps.append(int(step))
        history.losses.append(piece.losses[row, column])
    for name, values in piece.measured.items():
        for step, value in zip(piece.measured_at[name], values[:, column], strict=True):
            if step <= history.ending.last_step:
                history.measured_at.setdefault(name, []).append(int(step))
                history.measured.setdefault(name, []).append(value)


def trained(configs: Sequence[Config]) -> list[History]:
    """The histories of a cohort, in the order of its configs."""
    found = histories(*build(configs))
    assert sorted(found) == list(range(len(configs)))
    return [found[lane] for lane in range(len(configs))]


@cache
def composed(*overrides: str) -> Config:
    """A config as the command line would make it, tracked nowhere."""
    return compose(["tracking=none", *overrides])


def batches_of(plan: Plan, lanes: Lanes, epoch: int, lane: int = 0) -> list[np.ndarray]:
    """The row numbers that a lane sees in an epoch."""
    return list(epoch_batches(plan.sampler, lanes.batch_seeds[lane], epoch, len(lanes.parts["train"]), plan.batch_size))
