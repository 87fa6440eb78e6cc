"""How lanes end: diverged, stopped early with their best weights, or with their loss reached; each like alone."""

import math

import histories
import numpy as np
import pytest
import reference
import torch
from histories import differences, trained
from wine_runs import UPDATES, alone, wine

from mlpexp.config import Config
from mlpexp.data import prepare
from mlpexp.lanes import build

# --- divergence ---


def diverging(rate: float, seed: int = 0, *more: str) -> Config:
    return wine("optimizer=gradient_descent", f"optimizer.learning_rate={rate:g}", "training.loss=mse", f"seed={seed}",
                "model.output=identity", *more)  # fmt: skip


@pytest.mark.parametrize("rate", [5.0, 50.0, 1e4, 1e30])
def test_a_record_ends_at_the_first_non_finite_loss_or_gradient(rate: float) -> None:
    history = alone(diverging(rate))
    assert history.ending.status == "diverged"
    assert history.ending.last_step == history.steps[-1] == len(history.steps) - 1
    finite = np.isfinite(history.losses) & np.isfinite(history.column("gradient_norm")).all(axis=1)
    assert finite[:-1].all()
    assert not finite[-1]
    assert history.ending.scores == {}


def test_neighbours_of_diverging_lanes_keep_their_bits() -> None:
    configs = [diverging(rate, seed) for seed, rate in enumerate([1e-3, 1e30, 1e-3, 5.0, 50.0, 1e-3])]
    together = trained(configs)
    statuses = [history.ending.status for history in together]
    assert statuses == ["finished", "diverged", "finished", "diverged", "diverged", "finished"]
    assert len({history.ending.last_step for history in together}) >= 3
    for config, history in zip(configs, together, strict=True):
        assert differences(alone(config), history) == []


def test_weights_of_a_diverged_lane_are_those_that_diverged() -> None:
    """They stay as they were at the diverging step: not updated by what is not a number."""
    short = alone(diverging(1e30, 0, "training.sampler=full", "training.epochs=1"))
    long = alone(diverging(1e30, 0, "training.sampler=full", "training.epochs=4"))
    assert (
        short.ending.last_step == long.ending.last_step == 1
    )  # once in the look after the last update, once in training
    assert short.ending.status == long.ending.status == "diverged"
    assert short.ending.final.tobytes() == long.ending.final.tobytes()


def test_a_network_may_be_born_diverged() -> None:
    born = ("initialisation=normal", "initialisation.sigma_w=1e30")
    for epochs in (0, 2):
        history = alone(wine(*born, f"training.epochs={epochs}"))
        assert history.ending.status == "diverged"
        assert history.steps == [0]
        assert list(history.evaluations) == [0]


def test_every_lane_diverging_ends_the_training() -> None:
    together = trained([diverging(1e30, seed) for seed in range(3)])
    assert [history.ending.status for history in together] == ["diverged"] * 3


# --- early stopping and restored weights ---


def stopping(patience: int, seed: int = 0, *more: str) -> Config:
    return wine(f"training.patience={patience}", f"seed={seed}", "training.epochs=60", "optimizer.learning_rate=0.02",
                "data.split.validation=0.3", *more)  # fmt: skip


def expected_stop(losses: list[float], patience: int, tolerance: float) -> int | None:
    """The first evaluation at which there was no improvement for `patience` evaluations, told from losses alone."""
    reference_loss, waited = math.inf, 0
    for i, loss in enumerate(losses):
        if loss < reference_loss - tolerance:
            reference_loss, waited = loss, 0
        else:
            waited += 1
        if waited == patience:
            return i
    return None


@pytest.mark.parametrize(("patience", "tolerance", "every"), [(1, 0.0, 1), (3, 0.0, 1), (2, 0.01, 1), (1, 0.0, 3)])
def test_a_lane_stops_after_so_many_evaluations_without_improvement(
    patience: int, tolerance: float, every: int
) -> None:
    config = stopping(patience, 0, f"training.tolerance={tolerance}", f"training.evaluate_every={every}")
    updates = math.ceil(len(prepare(config.data).training) / 25)
    history = alone(config)
    losses = [values["loss/validation"] for values in history.evaluations.values()]
    stop = expected_stop(losses, patience, tolerance)
    assert history.ending.status == "stopped_early"
    assert stop == len(losses) - 1
    assert history.ending.last_step == history.steps[-1] == stop * every * updates
    assert history.ending.best_step == list(history.evaluations)[int(np.argmin(losses))]


@pytest.mark.parametrize(("patience", "tolerance"), [(3, 0.0), (2, 0.005)])
def test_early_stopping_and_the_best_weights_follow_a_plain_loop_in_torch(patience: int, tolerance: float) -> None:
    """As one would write it: copy the weights where the validation loss is lowest, count epochs without progress."""
    config = stopping(patience, 0, f"training.tolerance={tolerance}", "training.dtype=float64")
    plan, lanes = build([config])
    train_part, validation = (
        (part.features, torch.nn.functional.one_hot(part.labels[0], 3).double())
        for part in (lanes.parts["train"], lanes.parts["validation"])
        if part.labels is not None
    )
    network = reference.Perceptron(lanes.network.layout, lanes.network.rows[0], [torch.relu] * 9)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    criterion = torch.nn.CrossEntropyLoss()
    best_loss = progress = math.inf
    best_weights, without, stopped_after = network.row(), 0, 0
    for epoch in range(61):
        with torch.no_grad():
            loss = float(criterion(network(validation[0]), validation[1]))
        if loss < best_loss:
            best_loss, best_weights = loss, network.row().clone()
        without = 0 if loss < progress - tolerance else without + 1
        progress = loss if without == 0 else progress
        if without == patience:
            stopped_after = epoch
            break
        for rows in map(torch.from_numpy, histories.batches_of(plan, lanes, epoch)):
            optimizer.zero_grad()
            criterion(network(train_part[0][rows]), train_part[1][rows]).backward()
            optimizer.step()
    history = alone(config)
    assert 0 < stopped_after < 60
    assert history.ending.status == "stopped_early"
    assert history.ending.last_step == stopped_after * plan.updates_per_epoch
    np.testing.assert_allclose(history.ending.best, best_weights.numpy(), rtol=0, atol=1e-9)
    np.testing.assert_allclose(history.ending.final, network.row().numpy(), rtol=0, atol=1e-9)
    assert history.ending.scores["loss/validation"] == pytest.approx(best_loss, rel=1e-9)


def test_lanes_that_stop_early_are_like_alone_and_so_are_those_that_go_on() -> None:
    configs = [stopping(patience, seed) for seed, patience in enumerate([1, 50, 2, 1, 3])]
    together = trained(configs)
    assert len({history.ending.last_step for history in together}) >= 3
    for config, history in zip(configs, together, strict=True):
        assert differences(alone(config), history) == []


def test_restored_weights_are_the_best_and_they_are_scored() -> None:
    best, final = (alone(stopping(4, 0, f"training.restore={how}")) for how in ("best", "final"))
    assert best.ending.best_step < best.ending.last_step
    assert best.ending.best.tobytes() == final.ending.best.tobytes() != final.ending.final.tobytes()
    assert best.ending.final.tobytes() == final.ending.final.tobytes()
    for part in ("train", "validation"):
        for name in ("loss", "accuracy"):
            key = f"{name}/{part}"
            assert best.ending.scores[key] == best.evaluations[best.ending.best_step][key]
            assert final.ending.scores[key] == final.evaluations[final.ending.last_step][key]
    epochs = list(best.evaluations).index(best.ending.best_step)
    shorter = alone(stopping(4, 0, f"training.epochs={epochs}"))
    assert shorter.ending.final.tobytes() == best.ending.best.tobytes()


def test_the_best_step_is_the_first_of_the_lowest_validation_losses() -> None:
    """Also where it is best by little."""
    margins = []
    for history in trained([stopping(1000, seed, f"optimizer.learning_rate={0.002 * 1.5**seed}") for seed in range(8)]):
        losses = [values["loss/validation"] for values in history.evaluations.values()]
        assert history.ending.best_step == list(history.evaluations)[int(np.argmin(losses))]
        margins += [np.partition(losses, 1)[1] - min(losses)]
    assert min(margins) < 1e-3


def test_without_a_validation_part_nothing_stops_and_the_end_is_scored() -> None:
    history = alone(wine("data.split.validation=0", "training.restore=final"))
    assert history.ending.status == "finished"
    assert history.ending.best_step == history.ending.last_step
    assert history.ending.best.tobytes() == history.ending.final.tobytes()
    kinds = ("loss", "accuracy", "brier", "calibration_error")
    of_parts = {f"{kind}/{part}" for kind in kinds for part in ("train", "test")}
    assert set(history.ending.scores) == of_parts | {"gap/loss", "gap/accuracy"}


def test_gaps_are_train_minus_test() -> None:
    scores = alone(wine()).ending.scores
    for name in ("loss", "accuracy"):
        assert scores[f"gap/{name}"] == scores[f"{name}/train"] - scores[f"{name}/test"]


# --- until a loss is reached ---


def test_a_lane_ends_at_the_first_evaluation_whose_training_loss_is_low_enough() -> None:
    free = alone(wine("training.epochs=20"))
    losses = [values["loss/train"] for values in free.evaluations.values()]
    for bound in (losses[0], losses[3], (losses[5] + losses[6]) / 2):
        first = next(i for i, loss in enumerate(losses) if loss <= bound)
        history = alone(wine("training.epochs=20", f"training.until_loss={float(bound)!r}", "training.restore=final"))
        assert history.ending.status == "reached_loss"
        assert history.ending.last_step == history.steps[-1] == first * UPDATES
        assert history.ending.scores["loss/train"] == losses[first] <= bound
        assert history.losses == free.losses[: first * UPDATES + 1]


def test_a_loss_reached_at_the_end_of_the_budget_is_reached_and_one_out_of_reach_is_not() -> None:
    last = alone(wine()).evaluations[4 * UPDATES]["loss/train"]
    assert alone(wine(f"training.until_loss={float(last)!r}")).ending.status == "reached_loss"
    assert alone(wine("training.until_loss=0")).ending.status == "finished"


def test_lanes_reach_their_losses_at_their_own_time_and_like_alone() -> None:
    bounds = ["null", "0.9", "0.5", "0.2", "0.05"]
    configs = [
        wine(f"training.until_loss={bound}", f"seed={seed}", "training.epochs=30", "optimizer.learning_rate=0.01")
        for seed, bound in enumerate(bounds)
    ]
    configs += [wine("training.until_loss=0.1", "training.epochs=30", "training.patience=1", "training.tolerance=9")]
    together = trained(configs)
    statuses = [history.ending.status for history in together]
    assert statuses == ["finished", *["reached_loss"] * 4, "stopped_early"]
    assert len({history.ending.last_step for history in together}) >= 5
    for config, history in zip(configs, together, strict=True):
        assert differences(alone(config), history) == []
