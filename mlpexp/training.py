"""The loop: R networks, each as if it were alone.

Flow: lanes → **training** → records. Lanes are told apart by numbers and columns only; no reduction crosses them.
A lane that diverges or stops early leaves at the end of its epoch, and its neighbours keep their bits.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from mlpexp.kernel.backpropagation import backward
from mlpexp.kernel.losses import LOSSES
from mlpexp.kernel.measurements import Step
from mlpexp.kernel.network import Trace, forward, remember_statistics
from mlpexp.kernel.optimizers import column
from mlpexp.kernel.schedules import Schedule
from mlpexp.kernel.streams import dropout_mask, epoch_batches, first_batch, stream
from mlpexp.lane_state import Examples, Lanes, Pause, Plan
from mlpexp.recording import Recorder
from mlpexp.records import Ending, Piece
from mlpexp.scoring import endings, evaluate, remember_best


def train(plan: Plan, lanes: Lanes, epoch: int = 0, step: int = 0) -> Iterator[Piece | Ending | Pause]:
    """Train all lanes to their end; yields their records piece by piece, how each lane ended, and the pauses between.

    `epoch` and `step` are those of the pause from which these lanes go on.

    A piece is an epoch, or the one row that stands for the state after a lane's last update: it is measured on the
    batch that would have come next.
    """
    for current in range(epoch, plan.epochs + 1):
        yield Pause(current, step, lanes)
        evaluation: dict[str, Tensor] = {}
        over = torch.full_like(lanes.best_step, current == plan.epochs, dtype=torch.bool)
        if current % plan.evaluate_every == 0 or current == plan.epochs:
            evaluation = evaluate(plan, lanes, ("train", "validation"), plan.scores_at(step, current == plan.epochs))
            over |= remember_best(lanes, evaluation, step)
        if over.any():
            leaving, chosen = lanes.select(over.nonzero()[:, 0]), over.nonzero()[:, 0]
            yield look(plan, leaving, current, step, {k: v.index_select(0, chosen) for k, v in evaluation.items()})
            yield from endings(plan, leaving, step, stopped_early=current < plan.epochs)
            staying = (~over).nonzero()[:, 0]
            if not len(staying):
                return
            lanes = lanes.select(staying)
            evaluation = {k: v.index_select(0, staying) for k, v in evaluation.items()}
        piece = train_epoch(plan, lanes, current, step, evaluation)
        yield piece
        step += len(piece.steps)
        diverged = lanes.diverged_at >= 0
        if diverged.any():
            yield from endings(plan, lanes.select(diverged.nonzero()[:, 0]), step)
            if diverged.all():
                return
            lanes = lanes.select((~diverged).nonzero()[:, 0])


def train_epoch(plan: Plan, lanes: Lanes, epoch: int, first_step: int, evaluation: dict[str, Tensor]) -> Piece:
    """One epoch of updates; nothing here waits for the device."""
    network, examples = lanes.network, lanes.parts["train"]
    batches = [epoch_batches(plan.sampler, seed, epoch, len(examples), plan.batch_size) for seed in lanes.batch_seeds]
    record = Recorder(plan, lanes, first_step, len(batches[0]))
    masks = Dropout(lanes, epoch)
    gradient = torch.empty_like(network.parameters)
    traces: dict[int, Trace] = {}
    loss = LOSSES[plan.loss]
    for i, rows in enumerate(map(np.stack, zip(*batches, strict=True))):
        step = first_step + i
        inputs, targets = gather(plan, examples, torch.from_numpy(rows).to(gradient.device))  # [R, B, q], [R, B, k]
        if rows.shape[1] not in traces:
            traces[rows.shape[1]] = Trace(network, rows.shape[1])  # the last batch may be short
        trace = traces[rows.shape[1]]
        z = forward(network, inputs, trace, masks.draw(rows.shape[1]))  # keeps every X_l and Z_l
        losses, delta = loss(z, targets, plan.output)  # [R, B], [R, B, k]
        backward(network, trace, delta, gradient)  # [R, P], of each lane's mean loss
        losses = losses.sum(dim=1) / rows.shape[1]
        mark_diverged(lanes, losses, gradient, step)
        update = descend(plan, lanes, gradient, step)
        if record.due[i]:
            record.measure(i, Step(network, trace, gradient, update, lanes.initial, record.probe))
        record.losses[i] = losses
        alive = lanes.diverged_at < 0
        network.parameters += torch.where(alive[:, None], update, 0.0)
        remember_statistics(network, trace, alive)
    return record.piece(evaluation)


def look(plan: Plan, lanes: Lanes, epoch: int, step: int, evaluation: dict[str, Tensor]) -> Piece:
    """One row for the state as it is: forward, backward and measurements on the next batch, and no update."""
    network, examples = lanes.network, lanes.parts["train"]
    rows = np.stack(
        [first_batch(plan.sampler, seed, epoch, len(examples), plan.batch_size) for seed in lanes.batch_seeds]
    )
    record = Recorder(plan, lanes, step, 1, all_due=True)
    trace, gradient = Trace(network, rows.shape[1]), torch.empty_like(network.parameters)
    inputs, targets = gather(plan, examples, torch.from_numpy(rows).to(gradient.device))
    z = forward(network, inputs, trace, Dropout(lanes, epoch).draw(rows.shape[1]))
    losses, delta = LOSSES[plan.loss](z, targets, plan.output)
    backward(network, trace, delta, gradient)
    record.losses[0] = losses.sum(dim=1) / rows.shape[1]
    mark_diverged(lanes, record.losses[0], gradient, step)
    record.measure(0, Step(network, trace, gradient, None, lanes.initial, record.probe))
    return record.piece(evaluation)


def gather(plan: Plan, examples: Examples, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs [R, B, q] and targets [R, B, k] of rows [R, B]; gradient descent on all examples copies no input."""
    if plan.sampler == "full":
        return examples.features.expand(len(rows), -1, -1), examples.targets(rows)
    inputs = examples.features.index_select(0, rows.flatten()).view(*rows.shape, -1)
    return inputs, examples.targets(rows)


def mark_diverged(lanes: Lanes, losses: Tensor, gradient: Tensor, step: int) -> None:
    """Note the step of each lane's first non-finite loss or gradient."""
    finite = torch.isfinite(losses) & torch.isfinite(gradient.abs().amax(dim=1))
    lanes.diverged_at = torch.where((lanes.diverged_at < 0) & ~finite, step, lanes.diverged_at)


def descend(plan: Plan, lanes: Lanes, gradient: Tensor, step: int) -> Tensor:
    """ΔΘ [R, P]: penalties are added to the gradient, it is clipped, each rule updates its own lanes, W decays."""
    if any(lanes.l1) or any(lanes.l2):
        gradient = penalised(lanes, gradient)
    if not all(map(math.isinf, lanes.clip_norm)):
        gradient = clipped(lanes, gradient)
    rates = learning_rates(plan, lanes, step)
    updates, start = [], 0
    for rule in lanes.rules:
        end = start + len(rule.learning_rate)
        updates.append(rule.step(gradient[start:end], rates[start:end]))
        start = end
    update = torch.cat(updates) if len(updates) > 1 else updates[0]
    return decayed(lanes, update, rates) if any(lanes.weight_decay) else update


def learning_rates(plan: Plan, lanes: Lanes, step: int) -> Tensor:
    """γ of each lane in this step, [R, 1]."""
    rates = torch.cat([rule.learning_rate for rule in lanes.rules])
    if all(schedule == Schedule(schedule.name) and schedule.name == "constant" for schedule in lanes.schedules):
        return rates
    updates = plan.epochs * plan.updates_per_epoch(len(lanes.parts["train"]))
    return rates * column([schedule.at(step, updates) for schedule in lanes.schedules]).to(rates)


def penalised(lanes: Lanes, gradient: Tensor) -> Tensor:
    """g + λ₂W + λ₁ sign(W); biases are free. Chosen lane by lane: adding 0 · W would change the sign of zeros."""
    layout, parameters = lanes.network.layout, lanes.network.parameters
    gradient, l1, l2 = gradient.clone(), column(lanes.l1).to(gradient), column(lanes.l2).to(gradient)
    for l in range(layout.depth):
        part, weight = layout.weight(gradient, l), layout.weight(parameters, l)
        part.copy_(torch.where(l2[:, :, None] > 0, part + l2[:, :, None] * weight, part))
        part.copy_(torch.where(l1[:, :, None] > 0, part + l1[:, :, None] * torch.sign(weight), part))
    return gradient


def clipped(lanes: Lanes, gradient: Tensor) -> Tensor:
    """g · min(1, c/‖g‖) of each lane, its penalty's gradient included (Pascanu et al. 2013)."""
    norms = torch.linalg.vector_norm(gradient, dim=1, keepdim=True, dtype=torch.float64)
    limits = column(lanes.clip_norm).to(norms)
    factor = torch.where(norms > limits, limits / norms, 1.0).to(gradient.dtype)
    return torch.where(norms > limits, gradient * factor, gradient)


def decayed(lanes: Lanes, update: Tensor, rates: Tensor) -> Tensor:
    """ΔW − γλW: weight decay beside the rule, not through it (Loshchilov & Hutter 2019); biases are free."""
    layout, parameters = lanes.network.layout, lanes.network.parameters
    share = (rates * column(lanes.weight_decay).to(rates)).to(update.dtype)[:, :, None]
    for l in range(layout.depth):
        part, weight = layout.weight(update, l), layout.weight(parameters, l)
        part.copy_(torch.where(share > 0, part - share * weight, part))
    return update


class Dropout:
    """The masks of one epoch's steps, each lane's from its own stream."""

    def __init__(self, lanes: Lanes, epoch: int) -> None:
        self.shares = lanes.dropout
        self.units = [layer.outputs for layer in lanes.network.layout.layers[:-1]]
        self.generators = [stream(seed, "dropout", epoch) for seed in lanes.dropout_seeds]
        self.like = lanes.network.parameters

    def draw(self, rows: int) -> list[Tensor] | None:
        """One mask [R, B, k] a hidden layer; None where no lane drops out."""
        if not any(self.shares):
            return None
        drawn = zip(self.generators, self.shares, strict=True)
        of_lanes = [[dropout_mask(g, share, (rows, k), self.like.dtype) for k in self.units] for g, share in drawn]
        return [torch.stack(masks).to(self.like.device) for masks in zip(*of_lanes, strict=True)]
