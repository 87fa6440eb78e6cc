"""The loop: R networks, each as if it were alone.

Flow: lanes → **training** → records. Lanes are told apart by numbers and columns only; no reduction crosses them.
A lane that diverges, stops early or reaches its loss leaves at the end of an epoch, and its neighbours keep their bits.
"""

import math
from collections.abc import Collection, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from mlpexp.kernel.arithmetic import constant, is_finite, silence
from mlpexp.kernel.backpropagation import backward
from mlpexp.kernel.losses import smoothed
from mlpexp.kernel.measurements import Step
from mlpexp.kernel.network import Trace, forward, remember_statistics
from mlpexp.kernel.optimizers import column
from mlpexp.kernel.streams import dropout_mask, epoch_batches, stream
from mlpexp.lane_state import Lanes, Pause, Plan
from mlpexp.recording import Recorder
from mlpexp.records import Ending, Piece
from mlpexp.scoring import endings, evaluate, pruned, reached_loss, remember_best


def train(plan: Plan, lanes: Lanes, step: int = 0, leaving: Collection[int] = ()) -> Iterator[Piece | Ending | Pause]:
    """Train all lanes to their end; yields their records piece by piece, how each lane ended, and the pauses between.

    `step` is that of the pause from which these lanes go on. Lanes whose numbers are in `leaving` end as pruned at the
    next pause; whoever follows may add to it.

    A piece is an epoch, or what of it is within the budget, or the one row that stands for the state after a lane's
    last update: it is measured on the batch that would have come next.
    """
    while True:
        yield Pause(step, lanes)
        gone = [number in leaving for number in lanes.numbers]
        if any(gone):
            mask = torch.tensor(gone, device=lanes.best_step.device)
            yield from pruned(lanes.select(mask.nonzero()[:, 0]), step)
            if all(gone):
                return
            lanes = lanes.select((~mask).nonzero()[:, 0])
        evaluation: dict[str, Tensor] = {}
        is_last = step >= plan.updates
        over = torch.full_like(lanes.best_step, is_last, dtype=torch.bool)
        if evaluated := plan.evaluated_at(step, is_last):
            evaluation = evaluate(plan, lanes, evaluated, plan.scores_at(step, is_last))
            over |= remember_best(lanes, evaluation, step) | reached_loss(lanes, evaluation)
        if over.any():
            chosen = over.nonzero()[:, 0]
            ending = lanes.select(chosen)
            last = {k: v.index_select(0, chosen) for k, v in evaluation.items()}
            if "train" not in evaluated:  # as every run has it where it ends
                last |= evaluate(plan, ending, ("train",), plan.scores_at(step, is_last))
            yield look(plan, ending, step, last)
            yield from endings(plan, ending, step, last)
            staying = (~over).nonzero()[:, 0]
            if not len(staying):
                return
            lanes = lanes.select(staying)
            evaluation = {k: v.index_select(0, staying) for k, v in evaluation.items()}
        piece = train_epoch(plan, lanes, step, evaluation)
        yield piece
        step += len(piece.steps)
        diverged = lanes.diverged_at >= 0
        if diverged.any():
            yield from endings(plan, lanes.select(diverged.nonzero()[:, 0]), step, {})
            if diverged.all():
                return
            lanes = lanes.select((~diverged).nonzero()[:, 0])


def train_epoch(plan: Plan, lanes: Lanes, first_step: int, evaluation: dict[str, Tensor]) -> Piece:
    """The updates from a step to the end of its epoch or of the budget; nothing here waits for the device."""
    network = lanes.network
    batches, masks = rest_of_epoch(plan, lanes, first_step)
    steps = min(len(batches), plan.updates - first_step)
    record = Recorder(plan, lanes, first_step, steps)
    gradient, update = (torch.empty_like(network.parameters) for _ in range(2))
    traces: dict[int, Trace] = {}
    rates = constant_rates(lanes)
    for i, rows in enumerate(batches[:steps]):
        step = first_step + i
        inputs, targets = gather(plan, lanes, rows)  # [R, B, q], [R, B, k]
        if rows.shape[1] not in traces:
            traces[rows.shape[1]] = Trace(network, rows.shape[1])  # the last batch may be short
        trace = traces[rows.shape[1]]
        z = forward(network, inputs, trace, masks.draw(rows.shape[1]))  # keeps every X_l and Z_l
        losses, delta = plan.loss(z, targets)  # [R, B], [R, B, k]
        backward(network, trace, delta, gradient)  # [R, P], of each lane's mean loss
        losses = losses.sum(dim=1) / constant(rows.shape[1], losses)
        mark_diverged(lanes, losses, gradient, step)
        descend(lanes, gradient, rates if rates is not None else scheduled_rates(plan, lanes, step), update)
        if record.due[i]:
            record.measure(i, Step(network, trace, gradient, update, lanes.initial, record.probe))
        record.losses[i] = losses
        alive = lanes.diverged_at < 0
        network.parameters += silence(update, alive)
        remember_statistics(network, trace, alive)
    return record.piece(evaluation)


def look(plan: Plan, lanes: Lanes, step: int, evaluation: dict[str, Tensor]) -> Piece:
    """One row for the state as it is: forward, backward and measurements on the next batch, and no update."""
    network = lanes.network
    batches, masks = rest_of_epoch(plan, lanes, step)
    rows = batches[0]
    record = Recorder(plan, lanes, step, steps=1, all_due=True)
    trace, gradient = Trace(network, rows.shape[1]), torch.empty_like(network.parameters)
    inputs, targets = gather(plan, lanes, rows)
    z = forward(network, inputs, trace, masks.draw(rows.shape[1]))
    losses, delta = plan.loss(z, targets)
    backward(network, trace, delta, gradient)
    record.losses[0] = losses.sum(dim=1) / rows.shape[1]
    mark_diverged(lanes, record.losses[0], gradient, step)
    record.measure(0, Step(network, trace, gradient, None, lanes.initial, record.probe))
    return record.piece(evaluation)


def rest_of_epoch(plan: Plan, lanes: Lanes, step: int) -> tuple[Sequence[Tensor], "Dropout"]:
    """Row numbers [R, B] of each batch from a step to the end of its epoch, and the masks that go with them."""
    epoch, done = divmod(step, plan.updates_per_epoch)
    examples = len(lanes.parts["train"])
    of_lanes = [epoch_batches(plan.sampler, seed, epoch, examples, plan.batch_size) for seed in lanes.batch_seeds]
    order = torch.from_numpy(np.stack([np.concatenate(own) for own in of_lanes]))
    batches = order.to(lanes.best_step.device).split([len(rows) for rows in of_lanes[0]], dim=1)
    masks = Dropout(lanes, epoch)
    for rows in batches[:done]:
        masks.draw(rows.shape[1])  # of updates that were made before
    return batches[done:], masks


def gather(plan: Plan, lanes: Lanes, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs [R, B, q] and smoothed targets [R, B, k] of rows [R, B]; gradient descent on all examples copies no input.

    Where no lane smooths, targets are left as they are: they would keep their bits.
    """
    examples = lanes.parts["train"]
    targets = examples.targets(rows)
    if any(lanes.label_smoothing):
        targets = smoothed(targets, column(lanes.label_smoothing).to(targets.device), plan.loss.output)
    if plan.sampler == "full":
        return examples.features.expand(len(rows), -1, -1), targets
    return examples.features.index_select(0, rows.flatten()).view(*rows.shape, -1), targets


def mark_diverged(lanes: Lanes, losses: Tensor, gradient: Tensor, step: int) -> None:
    """Note the step of each lane's first non-finite loss or gradient."""
    finite = (losses.abs() < constant(torch.inf, losses)) & is_finite(gradient)
    lanes.diverged_at = torch.where((lanes.diverged_at < 0) & ~finite, step, lanes.diverged_at)


def descend(lanes: Lanes, gradient: Tensor, rates: Tensor, update: Tensor) -> None:
    """ΔΘ into `update`: penalties are added to the gradient, it is clipped, each rule updates its lanes, W decays."""
    if any(lanes.l1) or any(lanes.l2):
        gradient = penalised(lanes, gradient)
    if not all(map(math.isinf, lanes.clip_norm)):
        gradient = clipped(lanes, gradient)
    start = 0
    for rule in lanes.rules:
        end = start + len(rule.learning_rate)
        rule.step(gradient[start:end], rates[start:end], update[start:end])
        start = end
    if any(lanes.weight_decay):
        decay(lanes, update, rates)


def constant_rates(lanes: Lanes) -> Tensor | None:
    """γ of each lane, [R, 1]; None where one has a schedule."""
    if not all(schedule.is_constant for schedule in lanes.schedules):
        return None
    return torch.cat([rule.learning_rate for rule in lanes.rules])


def scheduled_rates(plan: Plan, lanes: Lanes, step: int) -> Tensor:
    """γ of each lane in this step, [R, 1]."""
    rates = torch.cat([rule.learning_rate for rule in lanes.rules])
    return rates * column([schedule.at(step, plan.updates) for schedule in lanes.schedules]).to(rates)


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


def decay(lanes: Lanes, update: Tensor, rates: Tensor) -> None:
    """ΔW − γλW, in place: weight decay beside the rule, not through it (Loshchilov & Hutter 2019); biases are free."""
    layout, parameters = lanes.network.layout, lanes.network.parameters
    share = (rates * column(lanes.weight_decay).to(rates)).to(update.dtype)[:, :, None]
    for l in range(layout.depth):
        part, weight = layout.weight(update, l), layout.weight(parameters, l)
        part.copy_(torch.where(share > 0, part - share * weight, part))


class Dropout:
    """The masks of one epoch's steps, each lane's from its own stream."""

    def __init__(self, lanes: Lanes, epoch: int) -> None:
        self.shares = lanes.dropout
        self.units = [layer.outputs for layer in lanes.network.layout.layers[:-1]]
        seeds = lanes.dropout_seeds if any(lanes.dropout) else []
        self.generators = [stream(seed, "dropout", epoch) for seed in seeds]
        self.like = lanes.network.parameters

    def draw(self, rows: int) -> list[Tensor] | None:
        """One mask [R, B, k] a hidden layer; None where no lane drops out."""
        if not any(self.shares):
            return None
        drawn = zip(self.generators, self.shares, strict=True)
        of_lanes = [[dropout_mask(g, share, (rows, k), self.like.dtype) for k in self.units] for g, share in drawn]
        return [torch.stack(masks).to(self.like.device) for masks in zip(*of_lanes, strict=True)]
