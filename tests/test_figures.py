"""Figures are functions of tables: the same table gives the same bytes."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from runs_fixtures import SILENT, composed, trained

from mlpexp.figures import compare_profiles, gradient_profile, png, save
from mlpexp.illustration import illustrate
from mlpexp.run_note import PICTURE
from mlpexp.runner import run

DRAW = np.random.default_rng(0)
START, END = (np.exp(DRAW.normal(size=(3, 6))) for _ in range(2))


def size(content: bytes) -> tuple[int, int]:
    assert content.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def test_the_same_table_gives_the_same_bytes_and_another_table_others() -> None:
    one, again = (png(gradient_profile(START, END, "title")) for _ in range(2))
    assert one == again
    assert png(gradient_profile(START * 2, END, "title")) != one
    assert png(gradient_profile(START, END, "other")) != one
    assert b"matplotlib" not in one.lower()


def test_a_profile_shows_each_seed_and_their_geometric_mean() -> None:
    (axes,) = gradient_profile(START, END, "a title").axes
    lines = [np.asarray(line.get_ydata()) for line in axes.lines]
    assert len(lines) == 8
    assert np.array_equal(lines[0], START[0])
    assert lines[3] == pytest.approx(np.exp(np.log(START).mean(axis=0)))
    assert axes.get_yscale() == "log"
    assert axes.get_title() == "a title"
    assert [text.get_text() for text in axes.texts] == ["before training", "after training"]
    assert "geometric mean of 3 seeds" in axes.get_xlabel()


def test_a_run_without_an_end_shows_its_start_alone() -> None:
    (axes,) = gradient_profile(START[:1], np.empty((0, 6)), "t").axes
    assert len(axes.lines) == 2


@pytest.mark.parametrize(
    "points",
    [
        [()],
        [("replicates=3",), ("model.depth=5",)],
        [SILENT],
        [SILENT, ()],
        [("measurements=none", "seed=80"), ()],
        [("initialisation=normal", "initialisation.sigma_w=1e30", "model.depth=4")],
        [("model.depth=1",)],
    ],
)
def test_points_are_compared_whatever_became_of_them(points: list[tuple[str, ...]]) -> None:
    results = [result for point in points for result in trained(*point)]
    assert size(png(compare_profiles(results))) == size(png(compare_profiles(results)))


def test_a_comparison_has_a_line_a_point_with_the_range_of_its_seeds() -> None:
    results = [*trained("replicates=3"), *trained("model.depth=5")]
    (axes,) = compare_profiles(results).axes
    assert [len(np.asarray(line.get_ydata())) for line in axes.lines] == [2, 5]
    assert len(axes.collections) == 2


def test_every_replicate_gets_the_picture_of_its_point(tmp_path: Path) -> None:
    results = run(composed("replicates=2", f"outputs={tmp_path}"), quiet=True)
    illustrate(results)
    first, second = ((result.folder / PICTURE).read_bytes() for result in results)
    assert first == second
    assert size(first) == (1032, 408)
    illustrate(results)
    assert (results[0].folder / PICTURE).read_bytes() == first
    assert not [file.name for file in results[0].folder.iterdir() if file.name.startswith(".")]


@pytest.mark.parametrize(
    "point",
    [
        ("measurements=none", "seed=81"),
        SILENT,
        ("initialisation=normal", "initialisation.sigma_w=1e30", "model.depth=4"),
    ],
)
def test_a_point_without_a_profile_gets_no_picture(point: tuple[str, ...]) -> None:
    (result,) = trained(*point)
    illustrate([result])
    assert not (result.folder / PICTURE).exists()


@pytest.mark.parametrize("draw", [lambda: gradient_profile(START, END, "t")])
def test_a_saved_figure_is_its_png(draw: Callable[[], object], tmp_path: Path) -> None:
    save(draw(), tmp_path / "new" / "figure.png")  # type: ignore[arg-type]
    assert (tmp_path / "new" / "figure.png").read_bytes() == png(draw())  # type: ignore[arg-type]
