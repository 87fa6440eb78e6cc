"""Figures for print: sizes of a column, a slide, a poster; same figure, same bytes; what was plotted as data.

Flow: table of runs → figure.py's `draw(table)` → **paper** → study_files. With figures.py, which draws pictures of
runs, the door to matplotlib: a study's figure.py takes its axes from here.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import Collection, LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import ArrayLike

from mlpexp.figures import FigureCanvasAgg
from mlpexp.verdicts import mean

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe & Ito's, told apart by the colour-blind; markers tell them apart in grey."""
MARKERS, DASHES = "os^Dv<>", ("-", "--", "-.", (0, (6, 1, 1, 1, 1, 1)))
THEORY: Mapping[str, Any] = {"color": "#000000", "linestyle": (0, (1, 1.5)), "linewidth": 1.0}
"""How a prediction is drawn: never with a marker, always in the same way."""


@dataclass(frozen=True)
class Format:
    """Width and height of one panel in inches, the size of letters in points, panels side by side or not."""

    width: float
    height: float
    points: float
    beside: bool = True


FORMATS: Mapping[str, Format] = {
    "column": Format(3.4, 2.35, 8, beside=False),
    "page": Format(3.5, 2.6, 8),
    "beamer": Format(2.5, 2.6, 8.5),
    "poster": Format(7.0, 5.6, 18),
}
TALLEST = 9.0
"""Inches that a page has for a column of panels: more than three are lower, so that the figure is printed whole."""
_format = [FORMATS["column"]]


@contextmanager
def style(name: str) -> Iterator[None]:
    """Within this, figures have that format, whatever the reader's own settings of matplotlib say."""
    chosen = FORMATS[name]
    line = chosen.points / 8
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {
                "backend": "agg",
                "pdf.fonttype": 42,  # whole letters, which an editor and a search can read
                "font.family": "DejaVu Sans",  # comes with matplotlib: the same everywhere
                "font.size": chosen.points,
                "axes.titlesize": "medium",
                "legend.fontsize": "small",
                "legend.frameon": False,
                "xtick.labelsize": "small",
                "ytick.labelsize": "small",
                "axes.spines.top": False,
                "axes.spines.right": False,
                "axes.linewidth": 0.6 * line,
                "lines.linewidth": 1.1 * line,
                "lines.markersize": 3.2 * line,
                "axes.grid": True,
                "grid.alpha": 0.25,
                "grid.linewidth": 0.5 * line,
            }
        )
        _format.append(chosen)
        try:
            yield
        finally:
            _format.pop()


def panels(count: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure of that many panels: one above the other in a column, side by side elsewhere."""
    form = _format[-1]
    rows, columns = (1, count) if form.beside else (count, 1)
    height = form.height if form.beside else min(form.height * rows, TALLEST)
    figure = Figure(figsize=(form.width * columns, height), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def panel_over_row(count: int) -> tuple[Figure, Axes, list[Axes]]:
    """A figure of one panel above a row of that many small ones: a curve, and pictures of some of its points."""
    form = _format[-1]
    figure = Figure(figsize=(form.width, 1.6 * form.height), layout="constrained")
    grid = figure.add_gridspec(2, count, height_ratios=[1.4, 1])
    return figure, figure.add_subplot(grid[0, :]), [figure.add_subplot(grid[1, i]) for i in range(count)]


def curve(
    axes: Axes, x: ArrayLike, table: pd.DataFrame, label: str, number: int, band: bool = True, mark: int | None = None
) -> None:
    """Means over x with their intervals (columns `value low high`), in the colour and marker of that number.

    `mark` is the number of another marker and dash, for curves that share a colour.
    """
    colour = COLOURS[number % len(COLOURS)]
    marker, dash = (cycle[(number if mark is None else mark) % len(cycle)] for cycle in (MARKERS, DASHES))
    middle = np.asarray(table["value"], dtype=float)
    low, high = (np.asarray(table[name], dtype=float) for name in ("low", "high"))
    at = np.asarray(x, dtype=float)
    if band:
        axes.fill_between(at, low, high, color=colour, alpha=0.2, linewidth=0, label=f"_{label}")
    else:
        axes.vlines(at, low, high, color=colour, linewidth=1.0, alpha=0.7, label=f"_{label}")
    axes.plot(at, middle, color=colour, marker=marker, linestyle=dash, label=label)


def forest(axes: Axes, effects: Mapping[str, tuple[float, float, float]], margin: float | None = None) -> None:
    """One row an effect: its estimate and interval (value, low, high), zero and the margin as lines."""
    names = list(effects)
    for row, name in enumerate(names):
        value, low, high = effects[name]
        axes.hlines(row, low, high, color=COLOURS[0], linewidth=1.4, label=f"_{name}")
        axes.plot([value], [row], "s", color=COLOURS[0], label=f"_{name}")
    axes.axvline(0, color="black", linewidth=0.7)
    if margin is not None:
        axes.axvline(margin, color="black", linewidth=0.7, linestyle=":")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)


def powers_of_two(axes: Axes, values: Sequence[float]) -> None:
    """A logarithmic x axis with a tick at each of these values, written as they are."""
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(list(values)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def whole_numbers(axes: Axes) -> None:
    """Ticks of the x axis at whole numbers alone: layers, epochs."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def means(table: pd.DataFrame, by: str, column: str) -> pd.DataFrame:
    """Mean over seeds and its 95 % interval at each value of `by`: columns `by value low high count`."""
    rows = []
    for key, group in table.groupby(by, sort=True):
        found = mean([float(value) for value in group[column] if np.isfinite(value)])
        rows.append({by: key, "value": found.value, "low": found.low, "high": found.high, "count": found.count})
    return pd.DataFrame(rows, columns=[by, "value", "low", "high", "count"])


def share_interval(successes: ArrayLike) -> tuple[float, float, float]:
    """A share with its 95 % interval (Wilson 1927), which stays between 0 and 1: (share, low, high)."""
    from scipy.stats import binomtest

    found = np.asarray(successes, dtype=bool)
    interval = binomtest(int(found.sum()), len(found)).proportion_ci(method="wilson")
    return float(found.mean()), float(interval.low), float(interval.high)


def rendered(figure: Figure, key: str) -> dict[str, bytes]:
    """The figure as `pdf` and `png`. No date, no version; the PDF says `key`, a config's hash, and nothing else."""
    found = {}
    for kind, metadata in (
        ("pdf", {"Creator": None, "Producer": None, "CreationDate": None, "Keywords": key}),
        ("png", {"Software": None}),
    ):
        stream = BytesIO()
        FigureCanvasAgg(figure)
        figure.savefig(stream, format=kind, dpi=200, metadata=metadata)
        found[kind] = stream.getvalue()
    return found


def plotted(figure: Figure) -> pd.DataFrame:
    """What the figure shows, read back from it: columns `panel series kind x value low high`.

    A point of a line has a value, a band or an interval low and high; a cell of an image has x, y (as low) and value.
    """
    rows: list[dict[str, object]] = []
    for number, axes in enumerate(figure.axes, start=1):
        own = {"panel": axes.get_title() or axes.get_title(loc="left") or str(number)}
        for line in axes.lines:
            head = own | {"series": _series(line), "kind": "line"}
            for x, value in zip(*(np.asarray(data, dtype=float) for data in line.get_data()), strict=True):
                rows.append(head | {"x": x, "value": value})
        for area in axes.collections:
            kind = "band" if isinstance(area, PolyCollection) else "interval"
            for x, low, high in _extents(area):
                rows.append(own | {"series": _series(area), "kind": kind, "x": x, "low": low, "high": high})
        for image in axes.images:
            head = own | {"series": _series(image), "kind": "cell"}
            for x, y, value in _cells(image):
                rows.append(head | {"x": x, "low": y, "value": value})
    return pd.DataFrame(rows, columns=["panel", "series", "kind", "x", "value", "low", "high"])


def _series(artist: Artist) -> str:
    """A label, also one that the legend leaves out (`_sigmoid`); nothing for those that matplotlib makes up."""
    label = str(artist.get_label())
    return "" if label.startswith("_child") else label.removeprefix("_")


def _extents(area: Collection) -> Iterator[tuple[float, float, float]]:
    """(x, low, high) at every x of a band, (place, low, high) of every interval."""
    if isinstance(area, LineCollection):
        for (x0, y0), (x1, y1) in (segment[[0, -1]].tolist() for segment in area.get_segments()):
            yield (x0, y0, y1) if x0 == x1 else (y0, x0, x1)
    elif isinstance(area, PolyCollection):
        for path in area.get_paths():
            vertices = np.asarray(path.vertices, dtype=float)
            for x in np.unique(vertices[:, 0]):
                heights = vertices[vertices[:, 0] == x, 1]
                yield float(x), float(heights.min()), float(heights.max())


def _cells(image: AxesImage) -> Iterator[tuple[float, float, float]]:
    """(x, y, value) at the middle of every cell."""
    values = np.asarray(image.get_array(), dtype=float)
    left, right, bottom, top = image.get_extent()
    if image.origin == "upper":
        bottom, top = top, bottom
    for (i, j), value in np.ndenumerate(values):
        x = left + (j + 0.5) * (right - left) / values.shape[1]
        yield x, bottom + (i + 0.5) * (top - bottom) / values.shape[0], float(value)
