"""The loop: what rows lanes leave, when they are evaluated, what they are given; going on from a pause."""

import copy

import histories
import numpy as np
import pytest
import reference
import torch
from histories import composed, differences, trained
from wine_runs import UPDATES, alone, wine

from mlpexp.data import prepare
from mlpexp.kernel import network
from mlpexp.kernel.network import Network, predict
from mlpexp.lane_state import Pause
from mlpexp.lanes import build
from mlpexp.measurement_catalogue import PRESETS
from mlpexp.records import Ending, Piece
from mlpexp.refusals import ConfigError
from mlpexp.training import train

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


@pytest.mark.parametrize("part", [1, 2, None])
@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("more", ["seed=0", "training.patience=1"])
def test_the_training_part_may_be_looked_at_less_often(part: int | None, every: int, more: str) -> None:
    common = (f"training.evaluate_every={every}", "training.epochs=7", "optimizer.learning_rate=0.1", more)
    whole = alone(wine(*common))
    fewer = alone(wine(*common, f"training.evaluate_train_every={'null' if part is None else part}"))
    last = whole.ending.last_step
    assert (last < 7 * UPDATES) is (more != "seed=0")
    for step, values in whole.evaluations.items():
        due = step == last or (part is not None and step % (every * part * UPDATES) == 0)
        kept = {name: value for name, value in values.items() if due or name.endswith("/validation")}
        assert fewer.evaluations.pop(step) == kept
    assert fewer.evaluations == {}
    whole.evaluations.clear()
    assert differences(whole, fewer) == []


def test_a_loss_is_reached_where_the_training_part_is_looked_at() -> None:
    losses = {step: float(found["loss/train"]) for step, found in alone(wine("training.epochs=7")).evaluations.items()}
    goal = f"training.until_loss={losses[2 * UPDATES]!r}"
    assert alone(wine("training.epochs=7", goal)).ending.last_step == 2 * UPDATES
    assert losses[3 * UPDATES] < losses[2 * UPDATES]
    ending = alone(wine("training.epochs=7", goal, "training.evaluate_train_every=3")).ending
    assert (ending.status, ending.last_step) == ("reached_loss", 3 * UPDATES)
    with pytest.raises(ConfigError, match="evaluate_train_every=null leaves out until the end"):
        wine(goal, "training.evaluate_train_every=null")


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


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("width", [1, 2, 4, 33, 64])
@pytest.mark.parametrize("data", ["digits", "breast_cancer", "sine"])  # ten outputs, and one; one input
def test_an_examples_output_does_not_depend_on_how_many_are_evaluated(data: str, width: int, dtype: str) -> None:
    config = composed(
        f"data={data}", "model.depth=3", f"model.width={width}", f"training.dtype={dtype}", "replicates=3"
    )
    for configs in (config.runs(), config.runs()[:1]):
        _, lanes = build(configs)
        features = lanes.parts["train"].features
        most = min(600, len(features))

        def outputs(count: int, network: Network = lanes.network, features: torch.Tensor = features) -> torch.Tensor:
            return torch.cat([z.clone() for _, z in predict(network, features[:count], 256)], dim=1)[:, :count]

        for count in (1, 2, 7, 13, 24, 56, 104, 200, 255, 256, 257, min(511, most)):
            assert torch.equal(outputs(count), outputs(most)[:, :count])


class Alike:
    """Finds bits alike in all of these shapes but some; others must not be asked about."""

    def __init__(self, rows: tuple[int, int], shapes: list[tuple[int, int]], different: list[tuple[int, int]]) -> None:
        self.rows, self.shapes, self.different = rows, shapes, different

    def __call__(self, few: int, many: int, inner: int, columns: int, *_: object) -> bool:
        assert (few, many) == self.rows
        assert (inner, columns) in self.shapes
        return (inner, columns) not in self.different


def test_a_chunk_has_fewer_rows_only_where_their_bits_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    _, lanes = build([composed()])
    features = lanes.parts["train"].features
    shapes = [(layer.inputs, layer.outputs) for layer in lanes.network.layout.layers]
    nowhere: list[tuple[int, int]] = []
    for different, rows in (nowhere, 104), (shapes[-1:], 256):
        monkeypatch.setattr(network, "fewer_rows_have_the_bits", Alike((104, 256), shapes, different))
        ((start, z),) = predict(lanes.network, features[:100], 256)
        assert (start, z.shape[1]) == (0, rows)


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


def test_smoothing_is_in_what_is_descended_on_and_not_in_evaluations() -> None:
    smooth, plain = (alone(wine(f"training.label_smoothing={share}", "training.epochs=1")) for share in (0.2, 0.0))
    assert smooth.evaluations[0] == plain.evaluations[0]
    assert smooth.losses[0] != plain.losses[0]
    assert smooth.ending.final.tobytes() != plain.ending.final.tobytes()
