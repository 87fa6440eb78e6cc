"""Points, and means over their seeds with intervals."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs_fixtures import trained
from scipy import stats

from mlpexp.verdicts import labels, mean, points, power_of_ten, status_words


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20))
def test_intervals_are_students_t(values: list[float]) -> None:
    found = mean(values)
    half = float(stats.sem(values)) * float(stats.t.ppf(0.975, len(values) - 1))
    assert found.value == pytest.approx(np.mean(values), abs=1e-9)
    assert found.half_width == pytest.approx(half, rel=1e-9, abs=1e-9)
    assert found.count == len(values)


def test_one_seed_has_no_interval_and_none_has_no_mean() -> None:
    assert math.isnan(mean([0.5]).half_width)
    assert str(mean([0.5])) == "0.5"
    assert math.isnan(mean([]).value)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([0.5, 0.5], "0.5000 ± 0.0000"),
        ([0.90, 0.92, 0.94], "0.920 ± 0.050"),
        ([100.0, 300.0, 200.0], "200 ± 248"),
        ([1e-9, 2e-9, 3e-9], "0.0000000020 ± 0.0000000025"),
    ],
)
def test_a_mean_is_written_to_two_digits_of_its_interval(values: list[float], text: str) -> None:
    assert str(mean(values)) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.00999, "1·10⁻²"), (0.01, "0.01"), (99.0, "99"), (1000.0, "1·10³"), (-3e5, "-3·10⁵"),
        (9.99e-9, "1·10⁻⁸"), (0.0, "0"), (math.inf, "inf"), (1e-320, "1·10⁻³²⁰"),
    ],
)  # fmt: skip
def test_numbers_are_written_as_powers_of_ten(number: float, text: str) -> None:
    assert power_of_ten(number) == text


def test_runs_that_differ_in_seeds_alone_are_one_point_however_they_were_spelt() -> None:
    runs = [*trained("seed=30"), *trained("seed=31", "seeds.batches=30"), *trained("model.depth=3", "seed=30")]
    groups = points(runs)
    assert [len(group) for group in groups.values()] == [2, 1]
    assert sorted(labels(groups).values()) == ["depth 2", "depth 3"]


def test_labels_name_what_differs_and_only_that() -> None:
    runs = [
        *trained("model.activation=tanh", "initialisation=glorot"),
        *trained(),
        *trained("optimizer.learning_rate=0.5"),
    ]
    named = list(labels(points(runs)).values())
    assert named == [
        "tanh, glorot, learning_rate 0.001",
        "relu, he, learning_rate 0.001",
        "relu, he, learning_rate 0.5",
    ]
    assert list(labels(points(runs[:1])).values()) == ["tanh-d2-w8-glorot-adam"]


def test_status_words_count_what_ended_otherwise() -> None:
    finished = trained("replicates=2")
    diverged = trained("optimizer=gradient_descent", "optimizer.learning_rate=1e20")
    assert status_words(finished) == "finished"
    assert status_words([*finished, *diverged]) == "2 finished, 1 diverged"
    assert status_words(trained("training.patience=1", "training.tolerance=10")) == "stopped early"
