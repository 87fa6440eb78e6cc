"""Means with their intervals, and the sentence about the signal."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs_fixtures import trained
from scipy import stats

from mlpexp.verdicts import labels, mean, points, power_of_ten, signal_profile, signal_sentence, status_words


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
    ("profile", "sentence"),
    [
        ([3e-9, 1.0], "layer 1 receives 3·10⁻⁹ of the signal of layer 2: vanishing"),
        ([2e-4, 0.5, 1.0], "layer 1 receives 2·10⁻⁴ of the signal of layer 3: vanishing"),
        ([0.05, 1.0], "layer 1 receives 0.05 of the signal of layer 2: fading"),
        ([0.7, 1.0], "layer 1 receives 0.7 of the signal of layer 2: the signal passes"),
        ([50.0, 1.0], "layer 1 receives 50 of the signal of layer 2: growing"),
        ([2e5, 1.0], "layer 1 receives 2·10⁵ of the signal of layer 2: exploding"),
        ([1e-308, 1e30], "layer 1 receives 10⁻³³⁸ of the signal of layer 2: vanishing"),
        ([1e300, 1e-300], "layer 1 receives 10⁶⁰⁰ of the signal of layer 2: exploding"),
        (
            [0.0, 0.0, 1.0],
            "layers 1 to 2 receive less signal than this precision can hold: vanishing (try training.dtype=float64)",
        ),
        ([1.0], "a single layer: nothing to pass back"),
        (None, "δ was not measured, or is not finite"),
    ],
)
def test_the_sentence_says_what_happened_to_the_signal(profile: list[float] | None, sentence: str) -> None:
    assert signal_sentence(None if profile is None else np.array(profile)) == sentence


def test_one_silent_layer_is_named_as_one() -> None:
    assert signal_sentence(np.array([0.0, 1.0])) == (
        "layer 1 receives less signal than this precision can hold: vanishing (try training.dtype=float64)"
    )


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.00999, "1·10⁻²"), (0.01, "0.01"), (99.0, "99"), (1000.0, "1·10³"), (-3e5, "-3·10⁵"),
        (9.99e-9, "1·10⁻⁸"), (0.0, "0"), (math.inf, "inf"), (1e-320, "1·10⁻³²⁰"),
    ],
)  # fmt: skip
def test_numbers_are_written_as_powers_of_ten(number: float, text: str) -> None:
    assert power_of_ten(number) == text


def test_a_profile_is_the_geometric_mean_over_seeds_at_the_start() -> None:
    runs = trained("replicates=3", "model.depth=3")
    starts = np.array([run.record["delta_norm"][0] for run in runs], dtype=float)
    found = signal_profile(runs)
    assert found == pytest.approx(stats.gmean(starts, axis=0), rel=1e-6)


def test_a_profile_that_was_not_measured_or_is_not_finite_is_none() -> None:
    assert signal_profile(trained("measurements=none", "seed=78")) is None
    assert signal_profile(trained("initialisation=normal", "initialisation.sigma_w=1e30", "model.depth=4")) is None


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
