"""The flow of the gradient and ridges of histograms: what is drawn is what was measured."""

from pathlib import Path

import numpy as np
import pytest
from runs_fixtures import composed, trained
from scipy import stats

from mlpexp.figures import png
from mlpexp.illustration import illustrate, phase_diagram_of
from mlpexp.layer_figures import MOST_COLUMNS, flow_of, gradient_flow, ridges
from mlpexp.projection import RIDGES, artifacts
from mlpexp.run_note import PICTURE
from mlpexp.runner import run

STEPS = np.arange(5)
SIGNAL = 10.0 ** np.add.outer(np.arange(5), -np.arange(4.0)[::-1])


def test_the_flow_shows_the_logarithm_of_every_layer_and_step() -> None:
    figure = gradient_flow(STEPS, SIGNAL, SIGNAL[:1], SIGNAL[-1:], "t")
    image, scale = figure.axes[0].images
    assert np.asarray(image.get_array()) == pytest.approx(np.log10(SIGNAL.T))
    assert image.get_clim() == scale.get_clim() == (-3, 4)
    assert png(figure) == png(gradient_flow(STEPS, SIGNAL, SIGNAL[:1], SIGNAL[-1:], "t"))


def test_colours_and_axes_span_two_decades_at_least_and_what_is_missing_is_masked() -> None:
    flat = np.full((5, 4), 0.5)
    flat[2, 1], flat[3, 1] = 0, np.inf
    figure = gradient_flow(STEPS, flat, flat[:1], flat[-1:], "t")
    image = figure.axes[0].images[0]
    low, high = image.get_clim()
    assert high - low == pytest.approx(2)
    assert np.ma.getmaskarray(np.ma.asarray(image.get_array())).sum() == 2
    bottom, top = figure.axes[1].get_ylim()
    assert np.log10(top / bottom) == pytest.approx(2)


def test_theory_starts_at_the_last_layers_signal() -> None:
    theory = np.log(0.25) * np.arange(3, -1, -1)
    line = gradient_flow(STEPS, SIGNAL, SIGNAL[:1], SIGNAL[-1:], "t", theory).axes[1].lines[-1]
    assert np.asarray(line.get_ydata()) == pytest.approx(0.5 ** np.arange(3, -1, -1))


def test_a_long_run_has_so_many_columns_and_its_last_step() -> None:
    steps = np.arange(3000)
    figure = gradient_flow(steps, np.ones((3000, 3)), np.ones((1, 3)), np.ones((1, 3)), "t")
    assert np.asarray(figure.axes[0].images[0].get_array()).shape[1] <= MOST_COLUMNS
    assert "2999" in [text.get_text() for text in figure.axes[0].texts]


def test_the_flow_of_a_point_is_the_geometric_mean_over_seeds_that_are_there() -> None:
    runs = trained("replicates=3", "model.depth=3")
    steps, signal = flow_of(runs)
    own = np.array([run.record["delta_norm"] for run in runs], dtype=float)
    assert np.array_equal(steps, runs[0].record.steps)
    assert signal == pytest.approx(stats.gmean(own, axis=0), rel=1e-6)


def test_ridges_have_the_counts_bins_and_moments_of_the_record() -> None:
    counts, edges = np.zeros((2, 3, 4)), np.broadcast_to(np.arange(5.0), (2, 3, 5))
    counts[:] = [1, 2, 2, 4]
    counts[1, 1] = 0  # nothing finite there
    figure = ridges(np.array([0, 7]), counts, edges, "delta_histogram", "t")
    assert [len(axes.collections) for axes in figure.axes] == [2, 1, 2]
    path = figure.axes[0].collections[0].get_paths()[0]
    heights = sorted({round(float(y - 2), 6) for y in np.asarray(path.vertices)[:, 1]})
    assert heights == [0, 0.65, 1.3, 1.95]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["step 0", "step 7"]


def test_a_phase_diagram_has_a_cell_a_point_and_theorys_boundary() -> None:
    sigmas, depths = (0.5, 1.0, 2.0), (2, 4, 6)
    runs = [
        trained("initialisation=normal", f"initialisation.sigma_w={sigma}", f"model.depth={depth}",
                "model.activation=tanh")[0]
        for sigma in sigmas for depth in depths
    ]  # fmt: skip
    figure = phase_diagram_of(runs)
    assert figure is not None
    axes = figure.axes[0]
    cells = np.asarray(axes.collections[0].get_array()).reshape(3, 3)
    for number, one in enumerate(runs):
        assert cells[number % 3, number // 3] == one.scores["accuracy/train"]
    boundary = np.asarray(axes.lines[-1].get_ydata(), dtype=float)
    for column, one in enumerate(runs[2::3]):  # the deepest of each σ_w
        assert one.theory is not None
        assert boundary[column] == pytest.approx(1 + 6 / (abs(one.theory["log_delta2"][0]) / 5))
    assert phase_diagram_of(runs[:3]) is None
    assert phase_diagram_of([*runs, *trained("model.width=4")]) is None


def test_pictures_lie_with_the_run_and_among_its_artifacts(tmp_path: Path) -> None:
    points = composed("measurements=full", "model.depth=3", "model.width=4", "training.epochs=1", "replicates=2",
                      f"outputs={tmp_path}")  # fmt: skip
    first, second = run(points, quiet=True)
    illustrate([first, second])
    assert {PICTURE, *RIDGES.values()} <= set(artifacts(first))
    assert set(RIDGES.values()).isdisjoint(artifacts(second))
