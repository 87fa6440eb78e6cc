"""Pictures of layers while a run trains: how what is in them is distributed, and which networks of a sweep train.

Flow: records → figures → **layer_figures** → illustration.
"""

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from mlpexp.figures import COLOURS
from mlpexp.records import Array, evenly_spaced, log_spaced

MOST_NAMED = 8
"""Layers in a legend."""
RIDGE_LAYERS, RIDGE_MOMENTS = 6, 10
RISE, MOST_HEIGHT = 1.3, 1.5


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


def course(steps: NDArray[np.int64], values: Array, label: str, title: str) -> Figure:
    """A quantity over steps [t]: values [t, L], a line a layer, or [t] of the run; what is not finite leaves a gap."""
    figure = Figure(figsize=(5.4, 3.4), layout="constrained")
    axes = figure.subplots()
    lines = np.where(np.isfinite(values), values, np.nan).reshape(len(values), -1)
    shades = colormaps[COLOURS](np.linspace(0.05, 0.85, lines.shape[1]))
    named, marker = evenly_spaced(lines.shape[1], MOST_NAMED), "." if len(steps) < 12 else ""
    for layer, shade in enumerate(shades):
        label_of = f"layer {layer + 1}" if layer in named else None
        axes.plot(steps, lines[:, layer], color=shade, linewidth=1.2, marker=marker, label=label_of)
    if values.ndim == 2:
        figure.legend(loc="outside right upper", fontsize="small", frameon=False)
    axes.set(xlabel="step", ylabel=label)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title, fontsize="medium")
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
