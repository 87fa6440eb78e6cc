"""Pictures of layers while a run trains: how its gradient flows, and how what is in its layers is distributed.

Flow: records → figures → **layer_figures** → illustration.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from mlpexp.figures import draw_profile
from mlpexp.records import Array, evenly_spaced, log_spaced
from mlpexp.results import Result
from mlpexp.verdicts import superscript

COLOURS = "cividis"
"""Grows evenly in lightness: the same in grey, and for the colour-blind."""

MOST_COLUMNS, LEAST_DECADES = 80, 2.0
RIDGE_LAYERS, RIDGE_MOMENTS = 6, 10
RISE, MOST_HEIGHT = 1.3, 1.5


def gradient_flow(
    steps: NDArray[np.int64], signal: Array, start: Array, end: Array, title: str, theory: Array | None = None
) -> Figure:
    """‖δ_l‖ as colour, layer over step; beside it the profiles over depth at both ends, with theory's.

    `signal` [T, L] at `steps` [T], which are drawn evenly on a log axis; `start`, `end`, `theory` as in
    `gradient_profile`. The colours span two decades at least, so that small changes look small.
    """
    figure = Figure(figsize=(8.6, 3.4))
    chosen = log_spaced(len(steps), MOST_COLUMNS)
    _draw_flow(figure.add_axes((0.075, 0.15, 0.42, 0.69)), steps[chosen], signal[chosen])
    draw_profile(figure.add_axes((0.585, 0.15, 0.4, 0.69)), start, end, theory)
    figure.suptitle(title, y=0.98)
    return figure


def _draw_flow(axes: Axes, steps: NDArray[np.int64], signal: Array) -> None:
    """The heat map and its scale, in one pair of axes without ticks: letters that are placed cost half as much."""
    with np.errstate(divide="ignore"):
        logarithms = np.log10(signal.T)  # [L, t]
    finite = logarithms[np.isfinite(logarithms)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (-1.0, 1.0)
    more = max(0.0, LEAST_DECADES - (high - low)) / 2
    low, high = low - more, high + more
    shades: dict[str, Any] = {"origin": "lower", "cmap": COLOURS, "vmin": low, "vmax": high, "interpolation": "nearest"}
    axes.imshow(np.ma.masked_invalid(logarithms), extent=(0, 1, 0, 1), **shades)
    axes.imshow(np.linspace(low, high, 64)[:, None], extent=(1.03, 1.07, 0, 1), **shades)
    axes.set(xlim=(0, 1.16), ylim=(0, 1), aspect="auto")
    axes.axis("off")
    depth, count = logarithms.shape
    missing = "" if len(finite) == logarithms.size else "; white: 0 or not finite"
    for place in evenly_spaced(count, 5):
        axes.text((place + 0.5) / count, -0.025, str(steps[place]), ha="center", va="top")
    for place in range(0, depth, math.ceil(depth / 10)):
        axes.text(-0.015, (place + 0.5) / depth, str(place + 1), ha="right", va="center")
    decades = np.arange(math.ceil(low), math.floor(high) + 1)
    for decade in decades[:: max(1, math.ceil(len(decades) / 5))]:
        axes.text(1.085, (decade - low) / (high - low), f"10{superscript(int(decade))}", va="center", fontsize="small")
    axes.text(0.5, -0.12, f"step (updates), log-spaced{missing}", ha="center", va="top")
    axes.text(-0.13, 0.5, "layer (1 is next to the input)", rotation=90, ha="center", va="center")
    axes.text(1.15, 1.02, "backpropagated signal ‖δₗ‖", ha="right", fontsize="small")


def flow_of(runs: Sequence[Result]) -> tuple[NDArray[np.int64], Array]:
    """Steps [T] at which δ of any seed was measured, and ‖δ_l‖ there, the geometric mean over seeds that have one."""
    measured = [run.record.measured("delta_norm") for run in runs]
    steps = max((own for own, _ in measured), key=len)
    logarithms = np.full((len(measured), len(steps), measured[0][1].shape[1]), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        for seed, (own, values) in enumerate(measured):
            logarithms[seed, np.searchsorted(steps, own)] = np.log(values.astype(np.float64))
        count = np.isfinite(logarithms).sum(axis=0)
        total = np.where(np.isfinite(logarithms), logarithms, 0).sum(axis=0)
        return steps, np.where(count > 0, np.exp(total / count), np.nan)


def ridges(steps: NDArray[np.int64], counts: Array, edges: Array, quantity: str, title: str) -> Figure:
    """Histograms [t, L, bins] of a few layers over time: a ridge a moment, early ones behind and light.

    `edges` [t, L, bins + 1]. Each ridge is as high as its second-highest bin: what is higher (the zeros of ReLU) is
    cut off at half as much again.
    """
    layers = sorted({round(i) for i in np.linspace(0, counts.shape[1] - 1, min(RIDGE_LAYERS, counts.shape[1]))})
    moments = log_spaced(len(steps), RIDGE_MOMENTS)
    figure = Figure(figsize=(1.5 + 1.5 * len(layers), 3.8), layout="constrained")
    columns: list[Axes] = list(figure.subplots(1, len(layers), sharey=True, squeeze=False)[0])
    shades = colormaps[COLOURS](np.linspace(0.85, 0.05, len(moments)))
    for axes, layer in zip(columns, layers, strict=True):
        for height, (moment, shade) in enumerate(zip(moments, shades, strict=True)):
            widths, count = np.diff(edges[moment, layer]), counts[moment, layer]
            if not count.any() or not (widths > 0).all():
                continue
            tall = np.minimum(count / np.sort(count)[-2:].min(), MOST_HEIGHT)  # a spike at 0 is cut off
            base = len(moments) - height
            axes.fill_between(
                np.repeat(edges[moment, layer], 2)[1:-1], base, base + RISE * np.repeat(tall, 2), color=shade,
                alpha=0.8, linewidth=0.4, edgecolor="white", zorder=height,
            )  # fmt: skip
        own = edges[moments, layer]
        axes.set_xlim(own.min(), own.max())
        axes.set_title(f"layer {layer + 1}", fontsize="small")
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(labelsize="x-small", left=False)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=3))
    columns[0].set_yticks([len(moments) - place for place in range(len(moments))])
    columns[0].set_yticklabels([f"step {steps[moment]}" for moment in moments])
    figure.supxlabel(quantity.replace("_", " "), fontsize="small")
    figure.suptitle(title, fontsize="medium")
    return figure


def phase_diagram(sigma_w2: Array, depths: Array, values: Array, boundary: Array, name: str, title: str) -> Figure:
    """A score as colour over σ_w² [s] and depth [d], `values` [d, s], with the depth up to which theory sees a signal.

    `boundary` [s] is the depth at which ‖δ‖² has changed by e⁶ between last and first layer, six of theory's depth
    scales ξ: Schoenholz et al. (2017) found networks trainable up to there.
    """
    figure = Figure(figsize=(5.4, 3.8), layout="constrained")
    axes = figure.subplots()
    edges = [_edges(np.log(np.asarray(own, dtype=float))) for own in (sigma_w2, depths)]
    mesh = axes.pcolormesh(*map(np.exp, edges), np.ma.masked_invalid(values), cmap=COLOURS, rasterized=True)
    axes.plot(sigma_w2, boundary, color="white", linewidth=3.5)
    axes.plot(sigma_w2, boundary, color="black", linestyle=(0, (1, 1.5)), linewidth=1.8)
    axes.set(xscale="log", yscale="log", xlabel="σ_w² of every layer; dotted: 6 ξ, theory", ylabel="depth")
    axes.set_ylim(np.exp(edges[1][0]), np.exp(edges[1][-1]))
    for axis, own in ((axes.xaxis, sigma_w2), (axes.yaxis, depths)):
        axis.set_major_locator(FixedLocator([float(one) for one in own]))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
        axis.set_minor_locator(NullLocator())
    figure.colorbar(mesh, label=f"{name}{'; white: diverged' if np.isnan(values).any() else ''}")
    axes.set_title(title, fontsize="medium")
    return figure


def _edges(middles: Array) -> Array:
    """Edges of cells around these middles, one more."""
    between = (middles[1:] + middles[:-1]) / 2
    return np.concatenate([[2 * middles[0] - between[0]], between, [2 * middles[-1] - between[-1]]])
