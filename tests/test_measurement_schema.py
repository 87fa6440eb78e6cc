"""Which measurements are asked for and when: presets, schedules, what covers what, and what a run does not define."""

import itertools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs_fixtures import composed

from mlpexp.config import Config, Measurements
from mlpexp.measurability import refused, settled, undefined
from mlpexp.measurement_catalogue import CATALOGUE, DEFAULT_SCHEDULES, ON_PROBE, PRESETS, Atom
from mlpexp.measurement_schema import QUANTITIES, due_updates
from mlpexp.refusals import ConfigError


def measuring(*names: str, **keys: Any) -> Measurements:
    return Measurements.model_validate({"quantities": list(names), **keys})


# --- the catalogue ---


def test_every_entry_of_the_catalogue_says_what_there_is_to_say() -> None:
    for name, one in CATALOGUE.items():
        assert name == one.name
        assert all((one.unit, one.description, one.source, one.file)), name
        assert len(one.description) > 10 or "norm" in one.description or "|w|" in one.description, name
    assert set(PRESETS["basic"]) < set(PRESETS["full"]) == set(CATALOGUE)
    assert {one.kind for one in CATALOGUE.values()} == set(DEFAULT_SCHEDULES)
    assert set(CATALOGUE) > ON_PROBE


# --- schedules ---


def due(atoms: tuple[Atom, ...], steps: int, epoch: int) -> list[int]:
    """Steps of a whole run, epoch by epoch."""
    return [first + i for first in range(0, steps, epoch) for i in due_updates(atoms, first, epoch)]


@pytest.mark.parametrize(
    ("atoms", "expected"),
    [
        ((1,), list(range(40))),
        ((7,), [0, 7, 14, 21, 28, 35]),
        (("epoch",), [0, 10, 20, 30]),
        (("ends",), [0]),
        (("log",), [0, 1, 2, 3, 4, 6, 7, 10, 13, 18, 24, 32]),
        (("epoch", 16), [0, 10, 16, 20, 30, 32]),
    ],
)
def test_a_schedule_is_due_where_it_says(atoms: tuple[Atom, ...], expected: list[int]) -> None:
    assert due(atoms, 40, 10) == expected


def test_log_spaced_steps_are_eight_a_decade_however_epochs_cut_them() -> None:
    assert due(("log",), 100_000, 1000) == due(("log",), 100_000, 10)
    steps = [step for step in due(("log",), 100_000, 1000) if step >= 100]
    assert len(steps) == 24
    assert all(abs(math.log10(b / a) - 1 / 8) < 0.01 for a, b in itertools.pairwise(steps))


def test_the_narrower_entry_of_a_schedule_wins() -> None:
    asked = measuring("full", every=3, schedule={"spectra": "epoch", "sharpness": 50, "delta_norm": "log"})
    assert asked.schedule_of("gradient_norm") == (3,)
    assert asked.schedule_of("delta_norm") == ("log",)
    assert asked.schedule_of("effective_rank") == ("epoch",)
    assert asked.schedule_of("sharpness") == (50,)
    assert asked.schedule_of("activation_histogram") == ("log",)
    assert measuring("full", schedule={"sharpness": ["epoch", 5]}).schedule_of("sharpness") == ("epoch", 5)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("measurements.schedule.sharpness=0", "must be a number of steps, log, epoch or ends; got 0"),
        ("measurements.schedule.sharpness=hourly", "must be a number of steps, log, epoch or ends; got 'hourly'"),
        ("measurements.schedule.shrpness=log", "got 'shrpness'; did you mean sharpness?"),
        ("measurements.quantities=[delta_nrom]", "got 'delta_nrom'; did you mean delta_norm?"),
        ("measurements.quantities=fully", "got 'fully'; did you mean full?"),
        ("measurements.probe_examples=0", "measurements.probe_examples must be at least 1, got 0"),
    ],
)
def test_a_wrong_schedule_or_name_is_refused(override: str, expected: str) -> None:
    with pytest.raises(ConfigError) as found:
        composed(override)
    (line,) = found.value.mistakes
    assert line.startswith(override.partition("=")[0].rpartition(".")[0])
    assert line.endswith(expected)


def test_a_schedule_can_be_told_on_the_command_line() -> None:
    asked = composed("measurements=full", "measurements.schedule.histograms=epoch", "measurements.schedule.sharpness=7")
    assert asked.measurements.schedule == {"histograms": "epoch", "sharpness": 7}


# --- covering ---

ATOMS = st.sampled_from([1, 2, 3, 6, "log", "epoch", "ends"])
NAMES = ["delta_norm", "gradient_norm", "sharpness", "activation_histogram", "dead_units"]


@st.composite
def asked(draw: st.DrawFn) -> Measurements:
    keys = st.sampled_from([*NAMES, "scalars", "spectra"])
    return measuring(
        *draw(st.lists(st.sampled_from(NAMES), unique=True)),
        every=draw(st.sampled_from([1, 2, 3, 4])),
        schedule=draw(st.dictionaries(keys, st.one_of(ATOMS, st.lists(ATOMS, min_size=1, max_size=2)), max_size=3)),
    )


@given(asked(), asked())
def test_a_union_covers_both_and_is_measured_wherever_either_is(one: Measurements, other: Measurements) -> None:
    union = one.union(other)
    assert union.covers(one)
    assert union.covers(other)
    assert union.union(one) == union
    assert set(union.names) == set(one.names) | set(other.names)
    for part in (one, other):
        for name in part.names:
            assert set(due(part.schedule_of(name), 60, 10)) <= set(due(union.schedule_of(name), 60, 10))


@given(asked(), asked())
def test_what_covers_holds_every_step_of_what_is_covered(one: Measurements, other: Measurements) -> None:
    if one.covers(other):
        for name in other.names:
            assert set(due(other.schedule_of(name), 60, 10)) <= set(due(one.schedule_of(name), 60, 10))


@pytest.mark.parametrize(
    ("one", "other", "covered"),
    [
        (measuring("sharpness", schedule={"spectra": "epoch"}), measuring("sharpness"), True),
        (measuring("sharpness"), measuring("sharpness", schedule={"spectra": "epoch"}), False),
        (measuring("delta_norm", schedule={"delta_norm": "log"}), measuring("delta_norm"), False),
        (measuring("sharpness", probe_examples=10), measuring("sharpness"), False),
        (measuring("delta_norm", probe_examples=10), measuring("delta_norm"), True),
        (measuring("full"), measuring("basic"), True),
        (measuring("basic"), measuring("full"), False),
    ],
)
def test_covering_looks_at_schedules_and_at_the_probe(one: Measurements, other: Measurements, covered: bool) -> None:
    assert one.covers(other) is covered


def test_a_union_of_words_measures_no_more_often_than_they_say() -> None:
    one, other = (measuring("sharpness", schedule={"sharpness": word}) for word in ("log", "epoch"))
    assert one.union(other).schedule_of("sharpness") == ("log", "epoch")


# --- what a run does not define ---

REASONS: list[tuple[str, tuple[str, ...], str, str]] = [
    ("saturation", ("model.activation=relu",), "multiclass", "no hidden layer has one of them"),
    ("saturation", ("model.activation=tanh", "model.depth=1"), "multiclass", "no hidden layer"),
    ("signal_norm", (), "multiclass", "model.skip=true"),
    ("dead_units", ("model.depth=1",), "multiclass", "model.depth=1 has none"),
    ("killed_units", ("model.depth=1",), "multiclass", "model.depth=1 has none"),
    ("jacobian_singular_values", ("model.depth=1",), "multiclass", "model.depth=1 has none"),
    ("gradient_second_moment", ("model.batch_norm=after",), "multiclass", "model.batch_norm=after"),
    ("gradient_variance", ("model.batch_norm=before",), "multiclass", "model.batch_norm=before"),
    ("gradient_square", ("training.batch_size=1",), "multiclass", "training.batch_size ≥ 2"),
    ("sharpness", ("model.batch_norm=after",), "multiclass", "without batch norm"),
    ("brier", (), "regression", "probabilities"),
    ("calibration_error", ("model.output=identity", "training.loss=mse"), "multiclass", "probabilities"),
]


@pytest.mark.parametrize(("name", "overrides", "task", "reason"), REASONS, ids=lambda value: str(value)[:30])
def test_what_is_undefined_is_refused_by_name_and_left_out_by_a_preset(
    name: str, overrides: tuple[str, ...], task: str, reason: str
) -> None:
    by_name = composed(*overrides, f"measurements.quantities=[{name}]")
    (line,) = refused(by_name, task, 100)
    assert line.startswith(f"measurements.quantities: {name} is undefined here: ")
    assert reason in line
    preset = composed(*overrides, "measurements=full")
    assert refused(preset, task, 100) == []
    spelt = settled(preset, task, 100)
    assert name not in spelt.quantities
    assert reason in spelt.left_out[name]
    assert set(spelt.quantities) | set(spelt.left_out) == set(QUANTITIES)


def test_what_is_defined_somewhere_is_left_out_nowhere_without_need() -> None:
    config = composed("model.activation=tanh", "model.skip=true", "model.depth=4", "measurements=full")
    assert settled(config, "multiclass", 100).left_out == {}
    assert all(undefined(name, config, "multiclass", 100) is None for name in QUANTITIES)


@pytest.mark.parametrize("preset", PRESETS)
def test_settling_twice_changes_nothing(preset: str) -> None:
    config = composed(f"measurements={preset}")
    once = settled(config, "multiclass", 100)
    again: Config = config.model_copy(update={"measurements": once})
    assert settled(again, "multiclass", 100) == once
    assert Measurements.model_validate(once.model_dump()) == once
