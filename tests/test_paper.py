"""Figures for print: sizes, embedded fonts, uncertainty, and the data that were plotted, read back."""

import re

import matplotlib
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mlpexp.paper import (
    FORMATS,
    Figure,
    curve,
    forest,
    means,
    panel_over_row,
    panels,
    plotted,
    powers_of_two,
    rendered,
    share_interval,
    style,
)
from mlpexp.study_options import DEFAULT_FORMAT
from mlpexp.study_options import FORMATS as NAMES

TABLE = pd.DataFrame({"x": [1, 1, 1, 2, 2, 2], "y": [1.0, 2.0, 4.0, 3.0, np.nan, 5.0]})


def drawn(band: bool = True, table: pd.DataFrame = TABLE) -> Figure:
    figure, (axes,) = panels()
    line = means(table, "x", "y")
    curve(axes, line["x"], line, "a curve", 0, band)
    powers_of_two(axes, [1, 2])
    return figure


def test_the_command_offers_these_formats() -> None:
    assert tuple(FORMATS) == NAMES
    assert DEFAULT_FORMAT in FORMATS


def test_means_have_students_interval_and_leave_out_what_is_no_number() -> None:
    line = means(TABLE, "x", "y").set_index("x")
    low, high = stats.t.interval(0.95, 2, np.mean([1, 2, 4]), stats.sem([1, 2, 4]))
    assert line.loc[1].to_dict() == pytest.approx({"value": 7 / 3, "low": low, "high": high, "count": 3})
    assert line.loc[2, "count"] == 2


@pytest.mark.parametrize("band", [True, False])
def test_the_plotted_data_are_the_curve_and_its_interval(band: bool) -> None:
    with style("column"):
        data = plotted(drawn(band))
    line = means(TABLE, "x", "y")
    shown = data[data["kind"] == "line"]
    assert shown["value"].tolist() == pytest.approx(line["value"].tolist())
    interval = data[data["kind"] == ("band" if band else "interval")]
    assert interval["series"].unique().tolist() == ["a curve"]
    assert interval[["x", "low", "high"]].to_numpy() == pytest.approx(line[["x", "low", "high"]].to_numpy())


def test_a_forest_has_a_row_an_effect() -> None:
    figure, (axes,) = panels()
    forest(axes, {"one": (0.1, 0.0, 0.2), "two": (-0.1, -0.3, 0.1)}, margin=0.05)
    data = plotted(figure)
    rows = data[(data["kind"] == "interval") & (data["series"] == "two")]
    assert rows[["x", "low", "high"]].to_numpy() == pytest.approx(np.array([[1, -0.3, 0.1]]))
    assert [label.get_text() for label in axes.get_yticklabels()] == ["one", "two"]


def test_cells_of_an_image_lie_where_they_are_seen() -> None:
    figure, _, (axes,) = panel_over_row(1)
    axes.imshow(np.array([[1.0, 2.0], [3.0, 4.0]]), origin="lower", extent=(0, 2, 0, 2), label="plane")
    cells = plotted(figure).set_index(["x", "low"])["value"]
    assert cells.loc[(0.5, 1.5)] == 3.0
    assert cells.loc[(1.5, 0.5)] == 2.0


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_decides_the_size(name: str) -> None:
    with style(name):
        figure, axes = panels(2)
    width, height = figure.get_size_inches()
    form = FORMATS[name]
    assert (width, height) == pytest.approx(
        (2 * form.width, form.height) if form.beside else (form.width, 2 * form.height)
    )
    assert len(axes) == 2


def test_the_readers_own_settings_change_no_byte() -> None:
    with style("column"):
        one = rendered(drawn(), "key")
    with matplotlib.rc_context({"font.size": 30, "axes.grid": False, "savefig.bbox": "tight"}), style("column"):
        again = rendered(drawn(), "key")
    assert one == again
    assert matplotlib.rcParams["font.size"] != FORMATS["column"].points


def test_the_pdf_embeds_its_letters_and_says_the_key_alone() -> None:
    with style("column"):
        pdf = rendered(drawn(), "config 0123")["pdf"]
    assert b"/FontFile2" in pdf, "TrueType letters, embedded whole"
    assert b"/Type3" not in pdf
    (info,) = re.findall(rb"obj\n<< ([^>]*Keywords[^>]*) >>", pdf)
    assert info == b"/Keywords (config 0123)"


def test_another_table_gives_other_bytes() -> None:
    with style("column"):
        one = rendered(drawn(), "key")
        other = rendered(drawn(table=TABLE.assign(y=TABLE["y"] + 0.5)), "key")
    assert one["pdf"] != other["pdf"]
    assert one["png"] != other["png"]


def test_a_share_near_one_keeps_an_interval_inside_zero_and_one() -> None:
    """Wilson's by its formula."""
    share, low, high = share_interval([True] * 10)
    z = stats.norm.isf(0.025)
    assert (share, high) == (1.0, pytest.approx(1.0))
    assert low == pytest.approx(10 / (10 + z**2))
