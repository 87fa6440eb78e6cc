"""How good each lane is: evaluations, the best weights so far, and the scores with which a lane ends.

Flow: training → **scoring** → records.
"""

from collections.abc import Collection, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from mlpexp.kernel.calibration import calibration_error, confidences, squared_errors
from mlpexp.kernel.losses import correct
from mlpexp.kernel.network import Network, predict
from mlpexp.lane_state import Lanes, Plan
from mlpexp.model_schema import PROBABILITIES
from mlpexp.records import Ending, gaps, metric

CALIBRATION = ("brier", "calibration_error")
EVALUATION_ROWS = 256
"""Examples in one chunk of an evaluation: a constant, so that bits do not depend on the number of examples."""


def evaluate(
    plan: Plan, lanes: Lanes, parts: tuple[str, ...], scores: Collection[str] = CALIBRATION
) -> dict[str, Tensor]:
    """`loss/…` and, for classes, `accuracy/…` of each lane on the named parts, [R] in double precision.

    The loss is that of the labels as they are, without penalties, dropout and label smoothing: these belong to training
    alone, and so it can be compared between runs that differ in them.
    `scores` may name brier and calibration_error too; they come where the outputs are probabilities of classes.
    """
    found: dict[str, Tensor] = {}
    for name in parts:
        examples = lanes.parts[name]
        if not len(examples):
            continue
        losses = examples.features.new_empty(len(lanes.numbers), len(examples), dtype=torch.float64)
        right = torch.empty_like(losses, dtype=torch.bool)
        honest = examples.labels is not None and plan.loss.output in PROBABILITIES
        wanted = list(scores) if honest else []
        errors, confidence = (torch.empty_like(losses) if wanted else losses for _ in range(2))
        for start, z in predict(lanes.network, examples.features, EVALUATION_ROWS):
            end = min(start + EVALUATION_ROWS, len(examples))
            rows = torch.arange(start, end, device=z.device).expand(len(lanes.numbers), -1)
            chunk = z[:, : end - start].contiguous()
            targets = examples.targets(rows)
            losses[:, start:end] = plan.loss(chunk, targets)[0]
            if wanted:
                errors[:, start:end] = squared_errors(chunk, targets, plan.loss.output)
                confidence[:, start:end] = confidences(chunk, plan.loss.output)
            if examples.labels is not None:
                right[:, start:end] = correct(chunk, examples.labels[:, start:end], plan.loss.output)
        found[metric("loss", name)] = losses.sum(dim=1) / len(examples)
        if examples.labels is not None:
            found[metric("accuracy", name)] = right.sum(dim=1, dtype=torch.float64) / len(examples)
        if "brier" in wanted:
            found[metric("brier", name)] = errors.sum(dim=1) / len(examples)
        if "calibration_error" in wanted:
            found[metric("calibration_error", name)] = calibration_error(confidence, right)
    return found


def remember_best(lanes: Lanes, evaluation: dict[str, Tensor], step: int) -> Tensor:
    """Keep the parameters of the lowest validation loss so far; tell which lanes have waited too long."""
    loss = evaluation.get(metric("loss", "validation"))
    if loss is None:
        return torch.zeros_like(lanes.best_step, dtype=torch.bool)
    better = loss < lanes.best_loss  # false for NaN
    lanes.best = torch.where(better[:, None], lanes.network.rows, lanes.best)
    lanes.best_loss = torch.where(better, loss, lanes.best_loss)
    lanes.best_step = torch.where(better, step, lanes.best_step)
    improved = loss < lanes.reference - loss.new_tensor(lanes.tolerance)
    lanes.reference = torch.where(improved, loss, lanes.reference)
    lanes.waited = torch.where(improved, 0, lanes.waited + 1)
    patience = lanes.waited.new_tensor([2**31 if p is None else p for p in lanes.patience])
    return lanes.waited >= patience


def reached_loss(lanes: Lanes, evaluation: dict[str, Tensor]) -> Tensor:
    """Which lanes have come down to the training loss that they train for, [R]; none where nothing was evaluated."""
    loss = evaluation.get(metric("loss", "train"))
    if loss is None:
        return torch.zeros_like(lanes.best_step, dtype=torch.bool)
    return loss <= loss.new_tensor(lanes.until_loss)


def outputs_are_off(plan: Plan, lanes: Lanes) -> Tensor:
    """Lanes whose ReLU outputs are 0 for every training example, [R]: so is δ, and there is nothing to learn from."""
    features = lanes.parts["train"].features
    if plan.loss.output != "relu":
        return torch.zeros_like(lanes.best_step, dtype=torch.bool)
    largest = features.new_full((len(lanes.numbers),), -torch.inf)
    for start, z in predict(lanes.network, features, EVALUATION_ROWS):
        largest = torch.maximum(largest, z[:, : len(features) - start].amax(dim=(1, 2)))
    return largest <= 0


def endings(plan: Plan, lanes: Lanes, step: int, evaluation: dict[str, Tensor]) -> Iterator[Ending]:
    """How each of these lanes ended, with the scores of its restored weights; a diverged lane has none.

    `evaluation` is that of `step`, empty where lanes diverged on the way.
    """
    final = lanes.network.rows
    unjudged = torch.isinf(lanes.best_loss)  # no validation part: the last weights are the best that is known
    best = torch.where(unjudged[:, None], final, lanes.best)
    best_step = torch.where(unjudged, step, lanes.best_step)
    restored = torch.tensor([how == "best" for how in lanes.restore], device=final.device)[:, None]
    network = Network(lanes.network.layout, lanes.network.activations, torch.where(restored, best, final))
    scores = evaluate(plan, replace(lanes, network=network), ("train", "validation", "test"))
    reached = reached_loss(lanes, evaluation).tolist()
    for i, number in enumerate(lanes.numbers):
        diverged_at = int(lanes.diverged_at[i])
        own = {} if diverged_at >= 0 else {name: float(value[i]) for name, value in scores.items()}
        early = "stopped_early" if step < plan.updates else "finished"
        yield Ending(
            lane=number,
            status="diverged" if diverged_at >= 0 else "reached_loss" if reached[i] else early,
            last_step=diverged_at if diverged_at >= 0 else step,
            best_step=int(best_step[i]),
            final=final[i].numpy(force=True).copy(),
            best=best[i].numpy(force=True).copy(),
            scores=own | gaps(own),
        )


def pruned(lanes: Lanes, step: int) -> Iterator[Ending]:
    """How lanes end that leave at a pause: with their last row and their weights, and without scores."""
    for i, number in enumerate(lanes.numbers):
        yield Ending(
            lane=number,
            status="pruned",
            last_step=step - 1,
            best_step=int(lanes.best_step[i]),
            final=lanes.network.parameters[i].numpy(force=True).copy(),
            best=lanes.best[i].numpy(force=True).copy(),
            scores={},
        )
