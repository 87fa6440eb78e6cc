"""The schema refuses, and says why; what it accepts is typed, immutable and complete."""

import pickle

import pytest
from pydantic import ValidationError
from runs_fixtures import composed

from mlpexp.activation_schema import ACTIVATION_NAMES
from mlpexp.config import Measurements, output_and_loss, validate
from mlpexp.refusals import ConfigError, redact


def content(**changes: object) -> dict[str, object]:
    """The content of a small config, with dotted keys (written with `__`) changed."""
    whole = composed().model_dump()
    for name, value in changes.items():
        *groups, key = name.split("__")
        section = whole
        for group in groups:
            section = section[group]
        section[key] = value
    return whole


def refusal(**changes: object) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        validate(content(**changes))
    return refused.value.mistakes


TEST_PART = "must be a share between 0 and 1, a whole number of examples, or official"
VALIDATION_PART = "must be a share from 0 to below 1, or a whole number of examples"


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("model__depth", 0, "model.depth must be at least 1, got 0"),
        ("model__depth", 2.5, "model.depth must be a whole number, got 2.5"),
        ("model__depth", "8", "model.depth must be a whole number, got '8'"),
        ("model__depth", True, "model.depth must be a number, got true"),
        ("model__depth", None, "model.depth must be a whole number, got None"),
        ("model__bias", 1, "model.bias must be true or false, got 1"),
        ("model__dropout", 1.0, "model.dropout must be below 1, got 1.0"),
        ("optimizer__learning_rate", 0, "optimizer.learning_rate must be above 0, got 0.0"),
        ("optimizer__learning_rate", float("nan"), "optimizer.learning_rate must be a finite number, got nan"),
        ("optimizer__learning_rate", float("inf"), "optimizer.learning_rate must be a finite number, got inf"),
        ("optimizer__learning_rate", "0.1", "optimizer.learning_rate must be a number, got '0.1'"),
        ("optimizer__learning_rate", False, "optimizer.learning_rate must be a number, got false"),
        ("seed", -1, "seed must be at least 0, got -1"),
        ("replicates", 0, "replicates must be at least 1, got 0"),
        ("outputs", 3, "outputs must be text, got 3"),
        (
            "measurements__quantities",
            3,
            "measurements.quantities must be text, got 3",
        ),
        ("model", 3, "model must be a group of keys, got 3"),
        ("data__split__test", 1.5, f"data.split.test {TEST_PART}; got 1.5"),
        ("data__split__test", 0, f"data.split.test {TEST_PART}; got 0"),
        ("data__split__test", -3, f"data.split.test {TEST_PART}; got -3"),
        ("data__split__test", "some", f"data.split.test {TEST_PART}; got 'some'"),
        ("data__split__validation", -0.1, f"data.split.validation {VALIDATION_PART}; got -0.1"),
        ("data__split__validation", True, f"data.split.validation {VALIDATION_PART}; got True"),
        ("data__split__validation", 2.5, f"data.split.validation {VALIDATION_PART}; got 2.5"),
        ("data__split__validation", "official", f"data.split.validation {VALIDATION_PART}; got 'official'"),
        ("training__epochs", -1, "training.epochs must be at least 0, got -1"),
        ("training__label_smoothing", 1.0, "training.label_smoothing must be below 1, got 1.0"),
        ("training__huber_delta", 0, "training.huber_delta must be above 0, got 0.0"),
        ("training__until_loss", -1, "training.until_loss must be at least 0, got -1"),
    ],
)
def test_a_wrong_value_is_refused_with_key_value_and_what_is_allowed(key: str, value: object, line: str) -> None:
    assert refusal(**{key: value}) == [line]


@pytest.mark.parametrize(
    ("key", "value", "parts"),
    [
        (
            "model__activation",
            "tahn",
            [f"model.activation must be one of {', '.join(ACTIVATION_NAMES)}, or a file", "did you mean tanh?"],
        ),
        ("optimizer__name", "adma", ["optimizer.name must be one of", "'adma'", "did you mean adam?"]),
        ("data__name", "digit", ["data.name must be one of", "did you mean digits?"]),
        (
            "measurements__quantities",
            ["delta_nrom"],
            ["measurements.quantities may list", "got 'delta_nrom'", "did you mean delta_norm?"],
        ),
        ("executor__device", "tpu", ["executor.device", "'tpu'"]),
    ],
)
def test_a_misspelt_name_is_refused_with_the_nearest_known_one(key: str, value: object, parts: list[str]) -> None:
    (line,) = refusal(**{key: value})
    assert [part for part in parts if part not in line] == []


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        (
            {"model__negative_slope": 0.1},
            ["model.negative_slope=0.1 belongs to leaky_relu", "model.activation is relu"],
        ),
        (
            {"model__alpha": 0.5, "model__activation": "selu"},
            ["model.alpha=0.5 belongs to elu", "model.activation is selu", "choose model.activation=elu"],
        ),
        ({"model__slope": 2.0}, ["model.slope=2 belongs to linear", "model.activation is relu"]),
        ({"model__intercept": 2.0}, ["model.intercept=2 belongs to linear", "model.activation is relu"]),
        (
            {"model__slope": 1e39, "model__activation": "linear"},
            ["model.slope=1e+39 cannot be held in float32"],
        ),
        ({"model__depth": 1, "model__dropout": 0.5}, ["model.dropout=0.5 acts on hidden layers", "depth ≥ 2"]),
        ({"training__tolerance": 0.1}, ["training.tolerance=0.1", "training.patience"]),
        ({"data__split__validation": 0.0}, ["training.restore=best needs a validation part", "training.restore=final"]),
        (
            {"data__split__validation": 0.0, "training__restore": "final", "training__patience": 2},
            ["training.patience needs a validation part"],
        ),
        ({"data__split__validation": 0.5, "data__split__test": 0.5}, ["leave nothing to train on", "below 1"]),
        (
            {"training__updates": 100},
            ["training.epochs=2 and training.updates=100 are 2 budgets", "set the others to null"],
        ),
        (
            {"training__epochs": None, "training__examples": 9, "training__flops": 9},
            ["training.examples=9 and training.flops=9 are 2 budgets"],
        ),
        ({"training__epochs": None}, ["training has no budget", "updates, examples and flops are all null"]),
        ({"training__huber_delta": 2.0}, ["training.huber_delta=2 belongs to training.loss=huber", "it is auto"]),
        ({"seeds__dropout": 1}, ["seeds.dropout=1 has no effect with model.dropout=0"]),
        ({"seeds__noise": 1}, ["seeds.noise=1 has no effect with data.label_noise=0"]),
    ],
)
def test_keys_that_do_not_fit_together_are_refused_with_the_way_out(
    changes: dict[str, object], parts: list[str]
) -> None:
    (line,) = refusal(**changes)
    assert [part for part in parts if part not in line] == []


def test_an_unknown_key_is_refused_with_the_nearest_and_with_what_the_group_has() -> None:
    assert refusal(model__dept=3) == ["model.dept is no known key; did you mean model.depth?"]
    (line,) = refusal(model__xyzzy=3)
    assert line.startswith("model.xyzzy is no known key; model has activation, activation_sources, alpha, batch_norm")


def test_all_mistakes_come_in_one_report() -> None:
    lines = refusal(model__depth=0, model__activation="rleu", optimizer__beta1=1, training__batch_size=0, seed="a")
    assert [line.split()[0] for line in lines] == [
        "model.depth", "model.activation", "optimizer.beta1", "training.batch_size", "seed",
    ]  # fmt: skip


def test_a_missing_group_is_named() -> None:
    whole = content()
    del whole["model"], whole["training"]
    with pytest.raises(ConfigError) as refused:
        validate(whole)
    assert refused.value.mistakes == ["model is missing", "training is missing"]


def test_replicates_stay_within_the_range_of_seeds() -> None:
    last = 2**63 - 1
    assert [run.seed for run in validate(content(seed=last)).runs()] == [last]
    (line,) = refusal(seed=last, replicates=2)
    assert "seed" in line
    assert "replicates" in line


def test_a_refusal_survives_the_way_between_processes() -> None:
    there = ConfigError(["model.depth is 0", "seed is -1"])
    back = pickle.loads(pickle.dumps(there))
    assert (str(back), back.mistakes) == (str(there), there.mistakes)


def test_a_config_cannot_be_changed() -> None:
    config = composed()
    with pytest.raises(ValidationError, match="frozen"):
        config.model.depth = 3  # type: ignore[misc]  # the mistake that is refused


@pytest.mark.parametrize("spelling", [8, 8.0])
def test_whole_numbers_become_int_however_spelt(spelling: float) -> None:
    assert type(validate(content(model__width=spelling)).model.width) is int


def test_a_config_survives_its_record() -> None:
    config = composed("seeds.batches=3", "measurements.every=5", "seed=7")
    back = validate(config.record())
    assert back.record() == config.record()
    assert (back.seed, back.seeds.batches, back.measurements.every) == (7, 3, 5)


@pytest.mark.parametrize(("task", "expected"), [
    ("binary", ("sigmoid", "cross_entropy")),
    ("multiclass", ("softmax", "cross_entropy")),
    ("regression", ("identity", "mse")),
])  # fmt: skip
def test_output_and_loss_follow_the_task_unless_chosen(task: str, expected: tuple[str, str]) -> None:
    assert output_and_loss(composed(), task) == expected
    assert output_and_loss(composed("model.output=identity", "training.loss=mae"), task) == ("identity", "mae")


def quantities(*names: str, every: int = 1) -> Measurements:
    return Measurements.model_validate({"quantities": list(names), "every": every})


@pytest.mark.parametrize(
    ("recorded", "wanted", "covered"),
    [
        (quantities("delta_norm"), quantities("delta_norm"), True),
        (quantities("delta_norm", "gradient_norm"), quantities("delta_norm"), True),
        (quantities("delta_norm"), quantities("gradient_norm"), False),
        (quantities("delta_norm", every=2), quantities("delta_norm", every=6), True),
        (quantities("delta_norm", every=6), quantities("delta_norm", every=2), False),
        (quantities("delta_norm", every=4), quantities("delta_norm", every=6), False),
        (quantities(), quantities("delta_norm"), False),
        (quantities(every=7), quantities(every=2), True),
    ],
)
def test_a_union_covers_both_and_covering_is_what_it_says(
    recorded: Measurements, wanted: Measurements, covered: bool
) -> None:
    assert recorded.covers(wanted) is covered
    union = recorded.union(wanted)
    assert union.covers(recorded)
    assert union.covers(wanted)
    assert union.union(recorded) == union


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql+psycopg2://ann:s3cret@db:5432/runs", "postgresql+psycopg2://ann:***@db:5432/runs"),
        ("see http://ann:p@ss:rd@host:5000 there", "see http://ann:***@host:5000 there"),
        ("http://:s3cret@host", "http://:***@host"),
        ("sqlite:////home/ann/runs.db", "sqlite:////home/ann/runs.db"),
        ("http://host:5000/path", "http://host:5000/path"),
        (r"tracking.uri=http\://ann\:s3cret@host\:5000", r"tracking.uri=http\://ann:***@host\:5000"),
    ],
)
def test_passwords_in_uris_are_redacted_and_nothing_else(text: str, shown: str) -> None:
    hidden = redact(text).replace(r"\:***", ":***")
    assert hidden == shown
    assert redact(redact(text)) == redact(text)


def test_passwords_do_not_stand_in_refusals() -> None:
    secret = "http://ann:s3cret@host"
    for changes in ({"tracking__name": secret}, {"tracking__experiment": 3, "model__activation": secret}):
        with pytest.raises(ConfigError) as refused:
            validate(content(**changes))
        assert "s3cret" not in str(refused.value)
        assert not any("s3cret" in line for line in refused.value.mistakes)


def test_a_point_is_shared_by_all_seeds_and_by_no_other_config() -> None:
    config = composed("replicates=3")
    assert {run.point() for run in config.runs()} == {config.point(), composed("seeds.batches=0").point()}
    assert config.point() != composed("model.width=9").point()
