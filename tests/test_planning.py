"""What is asked for, before anything trains: refused with every mistake, named, looked up."""

from pathlib import Path

import pytest
from reference import LOSS_NAMES
from runs_fixtures import composed

from mlpexp import feasibility
from mlpexp.config import Config
from mlpexp.feasibility import load_facts
from mlpexp.measurement_catalogue import PRESETS
from mlpexp.planning import Order, least_to_train, plan
from mlpexp.refusals import ConfigError
from mlpexp.runner import run

ERROR_LOSSES = [loss for loss in LOSS_NAMES if not loss.startswith("cross_entropy")]


def refusal(*configs: Config) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        plan(configs)
    return refused.value.mistakes


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["training.batch_size=1078"], "training.batch_size=1078 is more than the 1077 training examples of digits"),
        (["data=diabetes", "training.loss=cross_entropy"], "cross_entropy needs classes, but diabetes is a regression"),
        (["model.output=identity"], "training.loss=cross_entropy needs probabilities; set model.output=auto, softmax"),
        (["data=moons", "model.output=softmax"], "model.output=softmax needs several outputs, moons has one"),
        (["data=diabetes", "data.label_noise=0.1"], "data.label_noise=0.1"),
        (["model.output=relu"], "training.loss=cross_entropy needs probabilities"),
        (["data=moons", "model.output=relu"], "training.loss=cross_entropy needs probabilities"),
        (["data=sine", "training.loss=cross_entropy_mean"], "cross_entropy_mean needs classes, but sine is"),
        (["training.loss=cross_entropy_mean"], "that of a softmax is cross_entropy, in torch as well"),
        (["model.output=identity", "training.loss=cross_entropy_mean"], "cross_entropy_mean needs probabilities"),
        (
            ["training.loss=mse", "training.label_smoothing=0.1"],
            "training.label_smoothing=0.1 is of a cross-entropy, but the loss is mse; leave it at 0, or choose",
        ),
        (["data=sine", "training.label_smoothing=0.1"], "but the loss is mse; leave it at 0"),
        (
            ["training.epochs=null", "training.examples=63"],
            "training.examples=63 is less than one update, of 64 examples and 161792 FLOPs",
        ),
        (["training.epochs=null", "training.flops=161791"], "training.flops=161791 is less than one update"),
        (
            ["data.split.validation=1797"],
            "digits has 1797 rows: data.split.validation=1797 and data.split.test=0.2 leave none to train on",
        ),
        (["data.split.test=1797"], "data.split.test=1797 leave none to train on; make one smaller"),
        (["data.split.test=1000", "data.split.validation=0.5"], "leave none to train on"),
        (["data.split.test=5"], "1797 rows cannot be split 5, class by class"),
        (["data=sine", "model.output=softmax"], "model.output=softmax"),
        (["data=table", "data.path=no/such.csv", "data.target=y"], "no/such.csv"),
        (["data=idx", "data.path=no/such"], "no/such"),
    ],
)
def test_what_the_data_cannot_give_is_refused(overrides: list[str], line: str) -> None:
    (mistake,) = refusal(composed(*overrides))
    assert line in mistake


@pytest.mark.parametrize(
    "overrides",
    [
        ["training.batch_size=1077"],
        ["training.sampler=full", "training.batch_size=5000"],
        ["data=diabetes"],
        ["data=diabetes", "training.loss=mae", "model.output=sigmoid"],
        ["model.output=softmax", "training.loss=mse"],
        ["model.output=sigmoid"],
        ["data=moons", "data.label_noise=0.2"],
        *[[f"training.loss={loss}", "model.output=sigmoid"] for loss in LOSS_NAMES],
        *[["data=sine", f"training.loss={loss}", "model.output=relu"] for loss in ERROR_LOSSES],
        *[[f"training.loss={loss}", "model.output=relu"] for loss in ERROR_LOSSES],
        ["training.label_smoothing=0.1"],
        ["model.output=sigmoid", "training.loss=cross_entropy_mean", "training.label_smoothing=0.1"],
        ["training.epochs=null", "training.examples=64"],
        ["training.epochs=null", "training.flops=161792"],
        ["training.epochs=null", "training.updates=0"],
        ["data.split.validation=100", "data.split.test=300"],
    ],
)
def test_what_makes_sense_is_accepted(overrides: list[str], tmp_path: Path) -> None:
    assert plan([composed(*overrides, f"outputs={tmp_path}")]).to_train == [0]


def test_data_are_kept_until_there_are_too_many_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [*(composed(f"data.split.seed={seed}") for seed in range(3)), composed("data=iris")]
    size = next(iter(load_facts(points)[0].values())).parts
    assert size is not None
    monkeypatch.setattr(feasibility, "KEPT_BYTES", 2.5 * size.nbytes)
    assert [facts.parts is not None for facts in load_facts(points)[0].values()] == [True, True, False, True]


def test_the_mistakes_of_all_runs_come_in_one_report_each_once() -> None:
    large = composed("training.batch_size=5000")
    missing = composed("data=table", "data.path=none.csv", "data.target=y")
    assert len(refusal(large, composed(), missing, large)) == 2


@pytest.mark.parametrize("other", ["outputs=/elsewhere", "tracking.experiment=other", "executor.workers=3"])
def test_runs_of_one_call_agree_on_outputs_tracking_and_executor(other: str) -> None:
    (line,) = refusal(composed(), composed("seed=1", other))
    name = other.partition("=")[0].partition(".")[0]
    assert line.startswith(f"{name} differs between the runs of one call")


def test_planning_writes_nothing_and_leaves_the_order(tmp_path: Path) -> None:
    configs = [composed(f"seed={seed}", f"outputs={tmp_path / 'out'}") for seed in (3, 1, 2)]
    order = plan(configs)
    assert order.to_train == [0, 1, 2]
    assert [config.record() | {"measurements": {}} for config in order.configs] == [
        config.record() | {"measurements": {}} for config in configs
    ]
    assert order.configs[0].measurements.quantities == list(PRESETS["basic"])  # spelt out
    assert len(set(order.fingerprints)) == 3
    assert [path.name for path in tmp_path.rglob("*") if path.is_dir() and path.name != "out"] == []


def test_a_run_that_is_asked_for_twice_is_trained_once_with_the_measurements_of_both(tmp_path: Path) -> None:
    def asking(quantity: str, every: int) -> Config:
        return composed(f"outputs={tmp_path}", f"measurements.quantities=[{quantity}]", f"measurements.every={every}")

    order = plan([asking("delta_norm", 4), asking("gradient_norm", 6), composed(f"outputs={tmp_path}", "seed=1")])
    assert order.to_train == [0, 2]
    assert order.fingerprints[0] == order.fingerprints[1]
    assert order.configs[0].measurements.quantities == ["gradient_norm", "delta_norm"]
    assert order.configs[0].measurements.every == 2


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Order:
    """An order of one recorded run."""
    config = composed(f"outputs={tmp_path_factory.mktemp('known')}", "measurements.quantities=[delta_norm]")
    run(config, quiet=True)
    return plan([config])


def asked(known: Order, *overrides: str) -> Order:
    return plan([composed(f"outputs={known.configs[0].outputs}", *overrides)])


def test_what_is_recorded_is_not_trained_again_unless_asked_for(known: Order) -> None:
    assert known.to_train == []
    assert plan(known.configs, rerun=True).to_train == [0]
    assert asked(known, "measurements=none").to_train == []
    assert asked(known, "measurements.quantities=[delta_norm]", "measurements.every=5").to_train == []
    assert asked(known, "measurements.quantities=[delta_norm]", "seed=1").to_train == [0]


def test_a_request_for_more_measurements_trains_again_with_those_of_the_record(known: Order) -> None:
    order = asked(known, "measurements.quantities=[update_ratio]", "measurements.every=2")
    assert order.to_train == [0]
    assert order.configs[0].measurements.quantities == ["delta_norm", "update_ratio"]
    assert order.configs[0].measurements.every == 1
    assert order.fingerprints == known.fingerprints


RPROP = "optimizer=rprop reads signs of gradients alone"
BELOW = "model.output=relu is never below 0, but 109 targets of sine are"


@pytest.mark.parametrize(
    ("overrides", "beginnings"),
    [
        ((), []),
        (("optimizer=rprop",), [RPROP]),
        (("optimizer=rprop_plus", "training.sampler=fresh"), [RPROP]),
        (("optimizer=rprop", "training.sampler=full"), []),
        (("optimizer=rprop", "training.batch_size=1077"), []),
        (("data=sine", "data.examples=200", "model.output=relu", "training.batch_size=9"), [BELOW]),
        (("data=sine", "data.examples=200", "training.batch_size=9"), []),
        (("data=diabetes", "model.output=relu"), []),
        (("data=sine", "data.examples=200", "model.output=relu", "training.batch_size=9", "optimizer=rprop"),
         [RPROP, BELOW]),
    ],
)  # fmt: skip
def test_what_is_odd_is_told_once_and_not_refused(
    overrides: tuple[str, ...], beginnings: list[str], tmp_path: Path
) -> None:
    order = plan([composed(*overrides, f"seed={seed}", f"outputs={tmp_path}") for seed in range(3)])
    assert len(order.warnings()) == len(beginnings)
    assert all(line.startswith(start) for line, start in zip(order.warnings(), beginnings, strict=True))


def test_rows_of_a_record_are_its_updates_and_the_state_after_the_last() -> None:
    configs = [
        composed(),
        composed("training.sampler=full"),
        composed("training.epochs=0"),
        composed("training.batch_size=1077"),
    ]
    order = plan(configs)
    assert [order.updates(config) for config in configs] == [2 * 17 + 1, 3, 1, 3]


def test_how_many_runs_must_be_trained_whatever_their_names_are(tmp_path: Path) -> None:
    place = f"outputs={tmp_path}"
    one, other = composed(place, "replicates=2"), composed(place, "model.width=9")
    assert least_to_train([]) == 0
    assert least_to_train([one, other]) == 3
    assert least_to_train([one, other, one]) == 3  # asked for twice
    run(one, quiet=True)
    assert least_to_train([one, other]) == 1
    assert least_to_train([one]) == 0
    assert least_to_train([other]) == 0  # nobody knows yet whether it is the recorded one
    assert least_to_train([composed(place, "rerun=true")]) == 1
