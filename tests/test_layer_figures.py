"""Ridges of histograms and the phase diagram: what is drawn is what was measured."""

from pathlib import Path

import numpy as np
import pytest
from runs_fixtures import composed

from mlpexp.illustration import illustrate, phase_diagram_of
from mlpexp.layer_figures import ridges
from mlpexp.projection import RIDGES, artifacts
from mlpexp.run_note import PICTURE
from mlpexp.runner import run


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


def test_a_phase_diagram_has_a_cell_a_point_and_theorys_boundary(tmp_path: Path) -> None:
    keys = ("initialisation=normal", "training.epochs=1", f"outputs={tmp_path}")
    grid = [
        composed(*keys, "model.activation=tanh", f"initialisation.sigma_w={sigma}", f"model.depth={depth}")
        for sigma in (0.5, 1.0, 2.0)
        for depth in (2, 4, 6)
    ]
    *runs, other = run([*grid, composed(*keys, "model.width=4")], quiet=True)
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
    assert phase_diagram_of([*runs, other]) is None


def test_pictures_lie_with_the_run_and_among_its_artifacts(tmp_path: Path) -> None:
    points = composed("measurements=full", "model.depth=3", "model.width=4", "training.epochs=1", "replicates=2",
                      f"outputs={tmp_path}")  # fmt: skip
    first, second = run(points, quiet=True)
    illustrate([first, second])
    assert {PICTURE, *RIDGES.values()} <= set(artifacts(first))
    assert set(RIDGES.values()).isdisjoint(artifacts(second))
