"""The loop: how lanes end, what rows they leave, when they are evaluated, which weights are restored."""

import copy
import math

import histories
import numpy as np
import pytest
import reference
import torch
from histories import History, composed, differences, trained

from mlpexp.config import Config
from mlpexp.data import prepare
from mlpexp.kernel.network import Network, predict
from mlpexp.lane_state import Pause
from mlpexp.lanes import build
from mlpexp.measurement_catalogue import PRESETS
from mlpexp.records import Ending, Piece
from mlpexp.training import train

WINE = ("data=wine", "model.depth=3", "model.width=8", "training.batch_size=25", "training.epochs=4")
UPDATES = 5  # ⌈106/25⌉ an epoch; the last batch has 6 examples


def wine(*overrides: str) -> Config:
    return composed(*WINE, *overrides)


def alone(config: Config) -> History:
    (history,) = trained([config])
    return history


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


# --- rows ---


def test_no_epochs_leave_one_measured_row_and_one_evaluation() -> None:
    plan, lanes = build([wine("training.epochs=0")])
    initial = lanes.network.parameters[0].clone()
    piece, ending = histories.events_of(plan, lanes)
    assert isinstance(piece, Piece)
    assert isinstance(ending, Ending)
    assert piece.steps.tolist() == [0]
    assert {name: steps.tolist() for name, steps in piece.measured_at.items()} == {
        name: [0] for name in PRESETS["basic"]
    }
    assert sorted(piece.evaluation) == ["accuracy/train", "accuracy/validation", "loss/train", "loss/validation"]
    assert all(np.isfinite(values).all() for name, values in piece.measured.items() if name != "update_ratio")
    assert np.isnan(piece.measured["update_ratio"]).all()
    assert (ending.status, ending.last_step, ending.best_step) == ("finished", 0, 0)
    assert np.array_equal(ending.final, initial.numpy())


@pytest.mark.parametrize(("sampler", "updates"), [("epoch", UPDATES), ("fresh", UPDATES), ("full", 1)])
@pytest.mark.parametrize("epochs", [1, 3])
def test_steps_are_counted_once_each_and_one_more_row_is_looked_at(sampler: str, updates: int, epochs: int) -> None:
    history = alone(wine(f"training.sampler={sampler}", f"training.epochs={epochs}"))
    assert history.steps == list(range(epochs * updates + 1))
    assert history.ending.last_step == epochs * updates
    assert list(history.evaluations) == [i * updates for i in range(epochs + 1)]
    assert np.isnan(history.column("update_ratio")).any(axis=1).tolist() == [False] * (epochs * updates) + [True]


@pytest.mark.parametrize("every", [2, 3, 100])
def test_a_schedule_leaves_steps_unmeasured_and_changes_no_bit(every: int) -> None:
    sparse, dense = alone(wine(f"measurements.every={every}")), alone(wine())
    due = sorted({step for step in sparse.steps if step % every == 0} | {sparse.ending.last_step})
    assert sparse.measured_at == dict.fromkeys(PRESETS["basic"], due)
    assert sparse.losses == dense.losses
    assert sparse.ending.final.tobytes() == dense.ending.final.tobytes()
    for name, rows in sparse.measured.items():
        kept = dense.column(name)[due]
        assert histories.canonical(np.array(rows)) == histories.canonical(kept)


def test_measuring_nothing_changes_no_bit() -> None:
    nothing, everything = alone(wine("measurements=none")), alone(wine("measurements=full"))
    assert nothing.measured == {}
    assert nothing.losses == everything.losses
    assert nothing.ending.final.tobytes() == everything.ending.final.tobytes()


@pytest.mark.parametrize("every", [1, 2, 3])
def test_evaluations_come_every_so_many_epochs_and_at_the_end(every: int) -> None:
    history = alone(wine(f"training.evaluate_every={every}", "training.epochs=5"))
    assert list(history.evaluations) == sorted({epoch * UPDATES for epoch in range(0, 5, every)} | {5 * UPDATES})


@pytest.mark.parametrize("sampler", reference.SAMPLERS)
@pytest.mark.parametrize("more", ["seed=0", "model.dropout=0.3", "optimizer=momentum"])
def test_a_short_run_is_the_beginning_of_a_longer_one(sampler: str, more: str) -> None:
    short, long = (alone(wine(f"training.sampler={sampler}", more, f"training.epochs={n}")) for n in (2, 4))
    rows = len(short.steps)
    assert short.steps == long.steps[:rows]
    assert short.losses == long.losses[:rows]
    for name, values in short.measured.items():
        last = rows - 1 if name == "update_ratio" else rows  # after its last update nothing is updated
        assert np.array(values[:last]).tobytes() == long.column(name)[:last].tobytes()
    for step, values_of in short.evaluations.items():
        assert values_of == long.evaluations[step]


def test_going_on_from_any_pause_changes_no_bit() -> None:
    """Across a lane that diverges, one that stops early, update rules with a state, and dropout."""
    rules = ("optimizer=momentum", "optimizer=adam", "optimizer=adam")
    more = (["model.dropout=0.3"], ["training.patience=2", "training.tolerance=10"], ["training.l2=0.1"])
    configs = [
        wine(rule, f"seed={seed}", *changes, "training.epochs=6", "optimizer.learning_rate=0.05")
        for seed, (rule, changes) in enumerate(zip(rules, more, strict=True))
    ]
    configs.append(wine("optimizer=gradient_descent", "optimizer.learning_rate=1e30", "training.epochs=6"))
    uninterrupted = trained(configs)
    plan, lanes = build(configs)
    done: list[Piece | Ending] = []
    pauses: list[tuple[Pause, list[Piece | Ending]]] = []
    with histories.flushed():
        for event in train(plan, lanes):
            if isinstance(event, Pause):
                pauses.append((copy.deepcopy(event), list(done)))
            else:
                done.append(event)
        for pause, before in pauses:
            rest = train(plan, copy.deepcopy(pause.lanes), pause.step)
            events = before + [event for event in rest if not isinstance(event, Pause)]
            found = histories.sort_by_lane(events)
            assert [differences(found[lane], history) for lane, history in enumerate(uninterrupted)] == [[]] * 4
    assert len(pauses) == 7
    assert {history.ending.status for history in uninterrupted} == {"finished", "stopped_early", "diverged"}


# --- evaluation ---


@pytest.mark.parametrize("data", ["digits", "breast_cancer", "diabetes"])
def test_evaluation_equals_all_examples_at_once_in_float64(data: str) -> None:
    """digits has 1077 training examples: several chunks, and a padded one."""
    config = composed(f"data={data}", "model.depth=2", "model.width=8", "training.epochs=1", "training.dtype=float64",
                      "training.restore=final")  # fmt: skip
    plan, lanes = build([config])
    (history,) = histories.of(plan, lanes).values()
    weights, biases = reference.unpack(lanes.network.layout, torch.from_numpy(history.ending.final))
    for part, examples in lanes.parts.items():
        z = torch.relu(examples.features @ weights[0] + biases[0]) @ weights[1] + biases[1]
        targets = examples.targets(torch.arange(len(examples))[None])[0]
        losses = reference.example_losses(plan.loss.name, plan.loss.output, z, targets)
        assert history.ending.scores[f"loss/{part}"] == pytest.approx(float(losses.mean()), rel=1e-12)
        if examples.labels is None:
            assert f"accuracy/{part}" not in history.ending.scores
            continue
        chosen = (z[:, 0] > 0).long() if z.shape[1] == 1 else z.argmax(1)
        right = (chosen == examples.labels[0]).double().mean()
        assert history.ending.scores[f"accuracy/{part}"] == pytest.approx(float(right), rel=1e-12)


def test_an_examples_output_does_not_depend_on_how_many_are_evaluated() -> None:
    _, lanes = build([composed("model.depth=2", "model.width=33")])
    features = lanes.parts["train"].features

    def outputs(count: int) -> torch.Tensor:
        return torch.cat([z.clone() for _, z in predict(lanes.network, features[:count], 256)], dim=1)[:, :count]

    assert all(torch.equal(outputs(count), outputs(600)[:, :count]) for count in (1, 7, 256, 257, 511))


# --- what a lane is given ---


def test_label_noise_is_in_training_and_validation_and_never_in_the_test() -> None:
    configs = [wine(f"data.label_noise={share}", f"seed={seed}") for seed, share in enumerate([0.0, 0.2, 0.5])]
    _, lanes = build(configs)
    parts = prepare(configs[0].data)
    for name, part in (("train", parts.training), ("validation", parts.validation), ("test", parts.test)):
        labels = lanes.parts[name].labels
        assert labels is not None
        for lane, config in enumerate(configs):
            wrong = int((labels[lane].numpy() != part.targets).sum())
            assert wrong == (0 if name == "test" else round(config.data.label_noise * len(part)))


def test_training_and_validation_noise_are_drawn_apart() -> None:
    _, lanes = build([wine("data.label_noise=0.5", "data.split.validation=0.4", "data.split.test=0.2", "seed=3")])
    parts = prepare(wine("data.split.validation=0.4", "data.split.test=0.2").data)
    wrong = []
    for name, part in (("train", parts.training), ("validation", parts.validation)):
        labels = lanes.parts[name].labels
        assert labels is not None
        wrong.append((labels[0].numpy() != part.targets)[:70])
    assert len(wrong[0]) == len(wrong[1])
    assert not np.array_equal(wrong[0], wrong[1])


def test_conditions_are_paired_by_the_seeds_of_single_streams() -> None:
    configs = [
        wine("seed=1"), wine("seed=2", "seeds.initialisation=1"), wine("seed=2", "seeds.batches=1"),
        wine("seed=2", "seeds.batches=1", "seeds.initialisation=1"),
    ]  # fmt: skip
    _, lanes = build(configs)
    parameters = lanes.network.parameters
    assert torch.equal(parameters[0], parameters[1])
    assert not torch.equal(parameters[0], parameters[2])
    assert lanes.batch_seeds == [1, 2, 1, 1]
    first, second, third, paired = trained(configs)
    assert first.losses == paired.losses
    assert first.losses[0] != second.losses[0] != third.losses[0]


def test_the_penalty_is_in_the_update_and_not_in_what_is_recorded() -> None:
    """L2 changes what is learnt, from the second row on; the loss and the gradient of the first are the data's own."""
    free, penalised = trained([wine(), wine("training.l2=0.1")])
    assert free.losses[0] == penalised.losses[0]
    assert np.array_equal(free.column("gradient_norm")[0], penalised.column("gradient_norm")[0])
    assert free.losses[1] != penalised.losses[1]


def test_batch_losses_are_means_over_their_own_examples() -> None:
    """The short last batch is divided by its own length."""
    plan, lanes = build([wine("training.epochs=1", "training.dtype=float64", "optimizer.learning_rate=1e-30")])
    examples, network = lanes.parts["train"], lanes.network
    still = Network(network.layout, network.activations, network.rows.clone())
    z = torch.cat([z.clone() for _, z in predict(still, examples.features, 256)], dim=1)[:, : len(examples)]
    losses = plan.loss(z, examples.targets(torch.arange(len(examples))[None]))[0][0]
    (history,) = histories.of(plan, lanes).values()
    batches = histories.batches_of(plan, lanes, epoch=0)
    assert [len(rows) for rows in batches] == [25, 25, 25, 25, 6]
    expected = [float(losses[torch.from_numpy(rows)].mean()) for rows in batches]
    np.testing.assert_allclose(history.losses[:-1], expected, rtol=1e-12)


# --- budgets ---


@pytest.mark.parametrize("sampler", ["epoch", "fresh"])
@pytest.mark.parametrize("more", ["seed=0", "model.dropout=0.3", "optimizer=momentum"])
@pytest.mark.parametrize("updates", [0, 3, 5, 12])
def test_a_budget_of_updates_ends_within_an_epoch_like_the_beginning_of_a_longer_run(
    sampler: str, more: str, updates: int
) -> None:
    budget = ("training.epochs=null", f"training.updates={updates}")
    short, long = (alone(wine(f"training.sampler={sampler}", more, *own)) for own in (budget, ()))
    assert short.steps == list(range(updates + 1))
    assert short.losses == long.losses[: updates + 1]
    for name, values in short.measured.items():
        last = updates if name == "update_ratio" else updates + 1
        assert np.array(values[:last]).tobytes() == long.column(name)[:last].tobytes()
    assert list(short.evaluations) == [*range(0, updates, UPDATES), updates]
    assert short.ending.status == "finished"


def test_equal_budgets_in_other_units_are_the_same_training() -> None:
    """Two epochs of 5 updates; 106 examples, 25 in a batch."""
    flops = 2 * (3 * (13 * 8 + 8 * 8 + 8 * 3) - 13 * 8)
    budgets = ["epochs=2", "updates=10", "examples=212", "examples=236", f"flops={212 * flops}"]
    nulls = [() if budget.startswith("epochs") else ("training.epochs=null",) for budget in budgets]
    found = [alone(wine(*null, f"training.{budget}")) for null, budget in zip(nulls, budgets, strict=True)]
    assert [differences(found[0], other) for other in found] == [[]] * len(budgets)


def test_a_cosine_falls_over_the_budget_whatever_its_unit() -> None:
    common = ("training.schedule=cosine", "optimizer=gradient_descent", "training.dtype=float64")
    short = alone(wine(*common, "training.epochs=null", "training.updates=7"))
    _, lanes = build([wine(*common)])
    constant = alone(wine(*common[1:], "training.epochs=null", "training.updates=7"))
    assert short.losses[:2] == constant.losses[:2]  # the first update has the whole rate, the second less
    ratios = short.column("update_ratio")[:7, 0] / short.column("gradient_norm")[:7, 0]
    weights = lanes.network.layout.weight(lanes.network.parameters, 0)
    expected = 0.1 * (1 + np.cos(np.pi * np.arange(7) / 7)) / 2 / float(weights.norm())
    np.testing.assert_allclose(ratios, expected, rtol=0.15)  # ‖W‖ changes a little
    np.testing.assert_allclose(ratios[0], expected[0], rtol=1e-12)


def test_going_on_from_the_middle_of_an_epoch_changes_no_bit() -> None:
    budget = ("training.epochs=null", "model.dropout=0.3", "optimizer=adam")
    whole = alone(wine(*budget, "training.updates=13"))
    for updates in (3, 7, 10):
        plan, lanes = build([wine(*budget, f"training.updates={updates}")])
        with histories.flushed():
            pauses = [copy.deepcopy(event) for event in train(plan, lanes) if isinstance(event, Pause)]
            longer, _ = build([wine(*budget, "training.updates=13")])
            rest = list(train(longer, pauses[-1].lanes, pauses[-1].step))
        found = histories.sort_by_lane([event for event in rest if not isinstance(event, Pause)])[0]
        assert pauses[-1].step == updates == found.steps[0]
        assert found.losses == whole.losses[updates:]
        assert found.ending.final.tobytes() == whole.ending.final.tobytes()
        assert found.ending.best.tobytes() == whole.ending.best.tobytes()


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


def test_smoothing_is_in_what_is_descended_on_and_not_in_evaluations() -> None:
    smooth, plain = (alone(wine(f"training.label_smoothing={share}", "training.epochs=1")) for share in (0.2, 0.0))
    assert smooth.evaluations[0] == plain.evaluations[0]
    assert smooth.losses[0] != plain.losses[0]
    assert smooth.ending.final.tobytes() != plain.ending.final.tobytes()
