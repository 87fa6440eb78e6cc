"""The flow of the gradient: what is drawn is what was measured, the same numbers give the same bytes."""

from io import BytesIO

import numpy as np
import pytest
from matplotlib.image import BboxImage
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from numpy.typing import NDArray
from PIL import Image
from runs_fixtures import trained
from scipy import stats

from mlpexp import flow_figures
from mlpexp.figures import BLUE, ORANGE, large_and_small
from mlpexp.flow_figures import (
    FLOW,
    HEIGHT,
    PLAIN,
    PROFILE,
    WIDTH,
    Sheet,
    decades,
    flow_of,
    gradient_flow,
    interval,
    letters,
    round_step,
    spacing,
)
from mlpexp.measurement_schema import due_updates
from mlpexp.verdicts import mean

DRAW = np.random.default_rng(0)
START, END = (np.exp(DRAW.normal(size=(3, 4))) for _ in range(2))
STEPS = np.arange(5)
SIGNAL = 10.0 ** np.add.outer(np.arange(5), -np.arange(4.0)[::-1])


def images(sheet: Sheet) -> list[BboxImage]:
    """The heat map and its scale."""
    return [artist for artist in sheet.get_children() if isinstance(artist, BboxImage)]


def lines(sheet: Sheet, colour: str) -> list[Line2D]:
    """Lines of one colour, in the order in which they were drawn."""
    return [one for one in sheet.get_children() if isinstance(one, Line2D) and one.get_color() == colour]


def logarithms(sheet: Sheet, line: Line2D) -> NDArray[np.float64]:
    """log₁₀ of what a line of the profiles shows, read off the labels of its axis."""
    digits = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
    marks = [(int(text[2:].translate(digits)), y) for text, x, y in sheet.words if text.startswith("10") and x > 300]
    (low, below), (high, above) = marks[0], marks[-1]
    return low + (np.asarray(line.get_ydata(), dtype=float) - below) / (above - below) * (high - low)


def words(sheet: Sheet) -> list[str]:
    return [text for text, *_ in sheet.words]


def test_the_flow_shows_the_logarithm_of_every_layer_and_step() -> None:
    image, scale = images(gradient_flow(STEPS, SIGNAL, SIGNAL[:1], SIGNAL[-1:], "t"))
    assert np.asarray(image.get_array()) == pytest.approx(np.log10(SIGNAL.T))
    assert image.get_clim() == scale.get_clim() == (-3, 4)


def test_the_first_layer_is_drawn_below_and_time_goes_to_the_right() -> None:
    signal = np.ones((5, 4))
    signal[-1, 0] = 100  # layer 1 at the end: the brightest, in the lower right corner
    content, _ = large_and_small(gradient_flow(STEPS, signal, signal[:1], signal[:1], "t"))
    pixels = np.asarray(Image.open(BytesIO(content)).convert("L"), dtype=float)
    left, bottom, right, top = (round(place * 120 / 72) for place in (46, 37, 270, 206))
    flow = pixels[len(pixels) - top + 4 : len(pixels) - bottom - 4, left + 4 : right - 4]
    assert flow[-1, -1] == flow.max() > flow[-1, 0] == flow[0, -1] == flow[0, 0]


def test_the_same_numbers_give_the_same_bytes_and_others_others() -> None:
    drawn = [large_and_small(gradient_flow(STEPS, SIGNAL, START, END, "title")) for _ in range(2)]
    assert drawn[0] == drawn[1]
    for others in ((START * 2, END, "title"), (START, END * 2, "title"), (START, END, "other")):
        assert large_and_small(gradient_flow(STEPS, SIGNAL, *others))[0] != drawn[0][0]
    large, small = (Image.open(BytesIO(content)) for content in drawn[0])
    assert (large.size, small.size) == ((1032, 408), (516, 204))
    assert b"matplotlib" not in drawn[0][0].lower()


def test_colours_and_profiles_span_two_decades_at_least_and_what_is_missing_is_masked() -> None:
    flat = np.full((5, 4), 0.5)
    flat[2, 1], flat[3, 1] = 0, np.inf
    sheet = gradient_flow(STEPS, flat, flat[:1], flat[-1:], "t")
    image = images(sheet)[0]
    low, high = image.get_clim()
    assert high - low == pytest.approx(2)
    assert np.ma.getmaskarray(np.ma.asarray(image.get_array())).sum() == 2
    assert "step (updates); white: 0 or not finite" in words(sheet)
    assert {"10⁻¹", "10⁰"} <= set(words(sheet))


def test_profiles_are_each_seed_and_their_geometric_mean_on_the_axis_that_is_labelled() -> None:
    sheet = gradient_flow(STEPS, SIGNAL, START, END, "a title")
    for colour, values in ((BLUE, START), (ORANGE, END)):
        seeds, middle = lines(sheet, colour)
        assert logarithms(sheet, seeds).reshape(3, 5)[:, :4] == pytest.approx(np.log10(values))
        assert np.isnan(logarithms(sheet, seeds).reshape(3, 5)[:, 4]).all()
        assert logarithms(sheet, middle) == pytest.approx(np.log10(stats.gmean(values, axis=0)))
    assert {"before training", "after training", "a title"} <= set(words(sheet))
    assert "layer; thick: geometric mean of 3 seeds, shaded: its 95 %" in words(sheet)


def test_labels_of_layers_stand_below_their_points() -> None:
    sheet = gradient_flow(STEPS, SIGNAL, START, END, "t")
    labels = [x for text, x, y in sheet.words if text in "1234" and y < PROFILE[1] and x > PROFILE[0]]
    assert labels == pytest.approx(np.asarray(lines(sheet, BLUE)[1].get_xdata(), dtype=float))


def test_a_run_without_an_end_shows_its_start_alone() -> None:
    sheet = gradient_flow(STEPS, SIGNAL, START[:1], np.empty((0, 4)), "t")
    assert len(lines(sheet, BLUE)) == 2
    assert not lines(sheet, ORANGE)
    assert "after training" not in words(sheet)


def test_theory_starts_at_the_last_layers_signal() -> None:
    theory = np.log(0.25) * np.arange(3, -1, -1)
    sheet = gradient_flow(STEPS, SIGNAL, SIGNAL[:1], SIGNAL[-1:], "t", theory)
    assert 10 ** logarithms(sheet, lines(sheet, "black")[-1]) == pytest.approx(0.5 ** np.arange(3, -1, -1))


def test_a_long_run_has_so_many_columns_and_its_last_step() -> None:
    sheet = gradient_flow(np.arange(3000), np.ones((3000, 3)), np.ones((1, 3)), np.ones((1, 3)), "t")
    assert np.asarray(images(sheet)[0].get_array()).shape[1] <= flow_figures.MOST_COLUMNS
    assert "2999" in words(sheet)


@pytest.mark.parametrize(
    ("schedule", "updates", "told"),
    [
        ((10,), 34, ""),  # steps 0, 10, 20, 30 and the last
        ((10,), 30, ""),
        (("epoch",), 34, ""),
        ((1,), 1, ""),
        (("log",), 34, "log-spaced"),
        (("log",), 1_000, "log-spaced"),
        (("log",), 100_001, "log-spaced"),
        ((10, "log"), 34, "not evenly spaced"),
        ((10, 7), 40, "not evenly spaced"),
    ],
)
def test_how_steps_are_spaced_is_told_as_they_were_scheduled(
    schedule: tuple[int | str, ...], updates: int, told: str
) -> None:
    steps = np.array([*due_updates(schedule, 0, updates), updates])
    assert spacing(steps) == told
    label = "step (updates)" + (f", {told}" if told else "")
    assert label in words(gradient_flow(steps, np.ones((len(steps), 4)), START, END, "t"))


def test_steps_that_grow_otherwise_than_by_a_ratio_are_not_log_spaced() -> None:
    for steps in (np.arange(9) ** 2, np.array([0, 1, 2, 4, 400]), np.array([3, 4, 7]), np.array([0, 1, 34])):
        assert spacing(steps) == "not evenly spaced"
    assert [spacing(np.arange(count)) for count in range(4)] == [""] * 4


def test_a_run_measured_every_tenth_step_is_evenly_spaced_and_a_long_one_is_drawn_log_spaced() -> None:
    steps, signal = flow_of(trained("measurements.every=10", "seed=771"))
    assert steps.tolist() == [0, 10, 20, 30, 34]
    assert "step (updates)" in words(gradient_flow(steps, signal, signal[:1], signal[-1:], "t"))
    sheet = gradient_flow(np.arange(0, 30_000, 10), np.ones((3000, 3)), np.ones((1, 3)), np.ones((1, 3)), "t")
    assert "step (updates), log-spaced" in words(sheet)


def test_letters_of_the_widest_picture_stay_on_the_sheet() -> None:
    signal = np.exp(-np.arange(50.0)[None, ::-1] * np.ones((3000, 1)))
    signal[5, 5] = 0
    title = "leaky_relu+tanh-d50-w128-64-32-bn_before-skip-orthogonal-gradient_descent"
    sheet = gradient_flow(np.arange(3000) * 1000, signal, signal[:5], signal[-5:], title, np.zeros(50))
    boxes = [one.get_path().get_extents().extents for one in sheet.get_children() if isinstance(one, PathPatch)]
    told = "step (updates), not evenly spaced; white: 0 or not finite"
    assert told in words(gradient_flow(np.array([0, 5, 20, 21, 30]), np.zeros((5, 4)), START, END, "t"))
    assert letters(told, PLAIN)[1] / 2 < (FLOW[0] + FLOW[2]) / 2
    assert all(box[0] >= 0 and box[1] >= 0 and box[2] <= WIDTH and box[3] <= HEIGHT for box in boxes)


@pytest.mark.parametrize("count", [1, 2, 16, 17, 33, 100, 5000])
def test_layers_are_labelled_in_round_steps(count: int) -> None:
    step = round_step(count)
    assert len(range(0, count, step)) <= flow_figures.MOST_LABELS
    assert str(step)[0] in "125"
    assert set(str(step)[1:]) <= {"0"}


def test_decades_are_few_and_even() -> None:
    assert decades(-0.5, 0.5) == [0]
    assert decades(-3, 4) == [-3, -1, 1, 3]
    assert len(decades(-40.2, 0.1)) <= 6


def test_the_flow_of_a_point_is_the_geometric_mean_over_seeds_that_are_there() -> None:
    runs = trained("replicates=3", "model.depth=3")
    steps, signal = flow_of(runs)
    own = np.array([run.record["delta_norm"] for run in runs], dtype=float)
    assert np.array_equal(steps, runs[0].record.steps)
    assert signal == pytest.approx(stats.gmean(own, axis=0), rel=1e-6)


def test_the_interval_is_that_of_the_verdicts_and_is_shaded_from_three_seeds_on() -> None:
    values = DRAW.normal(size=(5, 4))
    ends = interval(values)
    for layer in range(4):
        expected = mean(values[:, layer].tolist())
        assert ends[:, layer] == pytest.approx([expected.low, expected.high])
    for seeds, shaded in ((2, 0), (3, 2)):
        sheet = gradient_flow(STEPS, SIGNAL, START[:seeds], END[:seeds], "t")
        assert sum(isinstance(one, PathPatch) and one.get_alpha() == 0.2 for one in sheet.get_children()) == shaded
