"""Figures are functions of tables: the same table gives the same bytes."""

import struct
from pathlib import Path

import numpy as np
import pytest
from runs_fixtures import SILENT, composed, trained

from mlpexp.figures import compare_profiles, png, save
from mlpexp.illustration import illustrate
from mlpexp.run_note import PICTURE
from mlpexp.runner import run


def size(content: bytes) -> tuple[int, int]:
    assert content.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def test_the_same_table_gives_the_same_bytes_and_names_no_program() -> None:
    runs = trained("replicates=3")
    content = png(compare_profiles(runs))
    assert content == png(compare_profiles(runs))
    assert content != png(compare_profiles(runs[:2]))
    assert b"matplotlib" not in content.lower()


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


def test_a_saved_figure_is_its_png(tmp_path: Path) -> None:
    figure = compare_profiles(trained())
    save(figure, tmp_path / "new" / "figure.png")
    assert (tmp_path / "new" / "figure.png").read_bytes() == png(figure)
