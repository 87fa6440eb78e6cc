"""Figures are functions of tables: pictures of runs. matplotlib's door, with paper and *_figures.

Flow: results → **figures** → illustration, paper.
"""

from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from mlpexp.gradient_verdict import gradient_verdict, signal_profile, verdict_word
from mlpexp.records import Array, metric
from mlpexp.results import Result
from mlpexp.verdicts import labels, points, status_words, superscript

COLOURS = "cividis"
"""Grows evenly in lightness: the same in grey, and for the colour-blind."""

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#999999"  # Okabe & Ito's, told apart by the colour-blind
DOTS_PER_INCH = 120
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")


class Picture(Figure):
    """A figure that a notebook shows without pyplot."""

    def _repr_png_(self) -> bytes:
        return png(self)


def picture_of_run(run: Result) -> Figure:
    """Losses over steps on the left; on the right ‖δ_l‖ over depth before and after training, where it was measured."""
    figure = Picture(figsize=(9, 3.4), layout="constrained")
    starts, ends = profiles_of([run])
    columns = 2 if len(starts) and run.config.model.depth > 1 else 1
    curves, *beside = figure.subplots(1, columns, squeeze=False)[0]
    for part, colour in (("batch", GREY), ("train", BLUE), ("validation", ORANGE)):
        values = run.record[name] if (name := metric("loss", part)) in run.record.metrics else np.array([])
        known = np.isfinite(values)
        if known.any():
            style = {"linewidth": 0.6} if part == "batch" else {"marker": "o", "markersize": 2.5}
            curves.plot(run.record.steps[known], values[known], color=colour, label=name, **style)
    curves.set_xlabel("step (updates)")
    curves.set_ylabel("loss")
    drawn = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in curves.lines] or [np.ones(1)])
    if drawn.min() > 0 and drawn.max() > 10 * drawn.min():
        curves.set_yscale("log")
    curves.xaxis.get_major_locator().set_params(integer=True)
    if curves.lines:
        curves.legend(frameon=False)
    curves.spines[["top", "right"]].set_visible(False)
    layers = np.arange(1, run.config.model.depth + 1)
    for axes in beside:
        for profiles, colour, name in ((starts, BLUE, "before training"), (ends, ORANGE, "after training")):
            for profile in profiles:
                axes.plot(layers, profile, color=colour, marker="o", markersize=3.5, label=name)
        axes_of_depth(axes, len(layers))
        axes.legend(frameon=False)
    figure.suptitle(f"{run.name}, {status_words([run])}", fontsize="medium")
    return figure


def compare_profiles(results: Sequence[Result]) -> Figure:
    """‖δ_l‖ over depth before training, a line a point with the range of its seeds."""
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.add_subplot()
    groups = points(results)
    depth = 1
    for (point, runs), colour in zip(groups.items(), PALETTE * (len(groups) // len(PALETTE) + 1), strict=False):
        start, _ = profiles_of(runs)
        middle = signal_profile(runs)
        if middle is None or not len(start):
            continue
        depth = max(depth, len(middle))
        layers = np.arange(1, len(middle) + 1)
        axes.fill_between(layers, start.min(axis=0), start.max(axis=0), color=colour, alpha=0.2, linewidth=0)
        word = verdict_word(gradient_verdict(runs))
        axes.plot(layers, middle, color=colour, marker="o", markersize=3.5, label=f"{labels(groups)[point]}: {word}")
    axes_of_depth(axes, depth)
    if axes.lines:
        axes.legend(frameon=False, loc="best", title="line: geometric mean, band: range over seeds", alignment="left")
    return figure


def png(figure: Figure, tight: bool = False) -> bytes:
    """The figure as a PNG, `tight` around all that is drawn; the same figure gives the same bytes."""
    stream = BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(
        stream,
        format="png",
        dpi=DOTS_PER_INCH,
        metadata={"Software": None},
        pil_kwargs={"compress_level": 1},
        bbox_inches="tight" if tight else None,
    )
    return stream.getvalue()


def large_and_small(figure: Figure) -> tuple[bytes, bytes]:
    """The figure as a PNG, and as a WebP of half its width and height, for grids of pictures; it is drawn once."""
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    figure.dpi = DOTS_PER_INCH
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    large, small = BytesIO(), BytesIO()
    image.save(large, "PNG", compress_level=1)
    image.reduce(2).save(small, "WEBP", quality=80, method=0)
    return large.getvalue(), small.getvalue()


def pdf(figure: Figure) -> bytes:
    """The figure as a PDF with its letters as letters; the same figure gives the same bytes."""
    stream = BytesIO()
    with rc_context({"pdf.fonttype": 42}):
        figure.savefig(stream, format="pdf", metadata=dict.fromkeys(("Creator", "Producer", "CreationDate")))
    return stream.getvalue()


def save(figure: Figure, file: Path, tight: bool = False) -> None:
    """Write a PNG."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(png(figure, tight))


def drawn(draw: Callable[[], Any]) -> Any:
    """What another library draws through pyplot; the style that it sets is not left to who draws next."""
    with rc_context():
        return draw()


def outline_ticks(figure: Figure) -> None:
    """Numbers at the axes in black on white, to be read where lines cross them."""
    for axes in figure.axes:
        for label in axes.get_yticklabels():
            label.set(color="black", path_effects=[withStroke(linewidth=3, foreground="white")])


def close(figure: Figure) -> None:
    """Let go of a figure that another library drew through pyplot."""
    from matplotlib import pyplot

    pyplot.close(figure)


def profiles_of(runs: Sequence[Result]) -> tuple[Array, Array]:
    """‖δ_l‖ of each seed at its first and at its last finite row, two arrays [seeds, L]."""
    starts: list[Array] = []
    ends: list[Array] = []
    for run in runs:
        if "delta_norm" not in run.record.quantities:
            continue
        _, values = run.record.measured("delta_norm")
        for moment, profiles in ((values[:1], starts), (values[1:][-1:], ends)):
            profiles += [profile for profile in moment if np.isfinite(profile).all() and (profile > 0).all()]
    depth = runs[0].config.model.depth
    return np.array(starts).reshape(-1, depth), np.array(ends).reshape(-1, depth)


def axes_of_depth(axes: Axes, depth: int) -> None:
    """Layers below, ‖δ_l‖ on a log axis beside."""
    axes.set_yscale("log")
    axes.set_xlabel("layer (1 is next to the input)")
    axes.set_ylabel("backpropagated signal ‖δₗ‖")
    # ticks in letters: TeX's layout of the same costs a quarter of a picture
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"10{superscript(round(np.log10(value)))}"))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=min(depth, 16)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(alpha=0.25, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
