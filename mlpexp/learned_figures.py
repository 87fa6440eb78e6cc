"""Pictures of what a network has learned: each is a function of arrays.

Flow: learned → figures → **learned_figures** → `mlpexp pictures`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mlpexp.figures import BLUE, GREY, ORANGE, PALETTE
from mlpexp.records import Array

DIVERGING, GROWING = "PuOr", "cividis"
"""For signed numbers, white at 0; for numbers from 0 up. Both are told apart by the colour-blind."""
MOST_UNITS, MOST_CLASSES, MOST_BARS = 36, 10, 30
HATCHES = ("", "//", "..", "xx", "\\\\", "++")


def weight_images(weights: Array, title: str) -> Figure:
    """Columns of W₁ as images [units, height, width] (or [units, length]); one scale for all, white is 0."""
    shown = weights[:MOST_UNITS]
    images = shown if shown.ndim == 3 else shown[:, None, :]
    columns = int(np.ceil(np.sqrt(len(images))))
    rows = int(np.ceil(len(images) / columns))
    figure = Figure(figsize=(1.0 + 0.95 * columns, 0.9 + 0.95 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    most = float(np.abs(shown).max()) or 1.0
    for axes in grid.flat:
        axes.axis("off")
    for axes, image in zip(grid.flat, images, strict=False):
        drawn = axes.imshow(image, cmap=DIVERGING, vmin=-most, vmax=most, interpolation="nearest", aspect="auto")
    figure.colorbar(drawn, ax=grid, shrink=0.7, label="weight")
    more = f", the {len(shown)} longest of {len(weights)}" if len(weights) > len(shown) else ", the longest first"
    figure.suptitle(f"{title}: weights of layer 1, a unit each{more}", fontsize="medium")
    return figure


def regions(
    x: Array, y: Array, classes: NDArray[np.int64], probability: Array, inputs: Array, labels: NDArray[np.int64],
    names: Sequence[str], title: str,
) -> Figure:  # fmt: skip
    """Predicted class [g, g] as colour, paler where its probability is lower, with examples [n, 2] on top."""
    figure = Figure(figsize=(5.2, 4.4), layout="constrained")
    axes = figure.subplots()
    colours = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in PALETTE])
    least = 1 / max(2, len(names))
    certain = np.clip((probability - least) / (1 - least), 0, 1)[..., None]
    shade = 1 - (1 - colours[classes % len(PALETTE)]) * (0.15 + 0.45 * certain)
    axes.imshow(shade, origin="lower", extent=(x[0], x[-1], y[0], y[-1]), aspect="auto", interpolation="nearest")
    for number, name in enumerate(names):
        own = inputs[labels == number]
        marker = "os^Dv<"[number % len(PALETTE)]
        style: dict[str, Any] = {"color": PALETTE[number % len(PALETTE)], "edgecolor": "white", "linewidth": 0.4}
        axes.scatter(own[:, 0], own[:, 1], s=16, marker=marker, label=f"class {name}", **style)
    axes.set(xlabel="x₁", ylabel="x₂")
    axes.legend(loc="upper right", fontsize="small")
    axes.set_title(f"{title}: classes; pale: unsure", fontsize="medium")
    return figure


def units(outputs: Sequence[Array], title: str) -> Figure:
    """Outputs of hidden layers [n, k]: a row an example, in the order of their classes, a column a unit."""
    shown = sorted({round(i) for i in np.linspace(0, len(outputs) - 1, min(6, len(outputs)))})
    figure = Figure(figsize=(1.2 + 1.7 * len(shown), 3.6), layout="constrained")
    grid = figure.subplots(1, len(shown), squeeze=False)[0]
    for axes, layer in zip(grid, shown, strict=True):
        most = float(np.abs(outputs[layer]).max()) or 1.0
        signed = bool((outputs[layer] < 0).any())
        drawn = axes.imshow(
            outputs[layer], aspect="auto", interpolation="nearest", cmap=DIVERGING if signed else GROWING,
            vmin=-most if signed else 0, vmax=most,
        )  # fmt: skip
        axes.set_title(f"layer {layer + 1}", fontsize="small")
        axes.set_xlabel("unit", fontsize="small")
        axes.tick_params(labelsize="x-small")
        figure.colorbar(drawn, ax=axes, location="bottom", shrink=0.9).ax.tick_params(labelsize="x-small")
        if layer:
            axes.set_yticks([])
    grid[0].set_ylabel("test example, by class", fontsize="small")
    figure.suptitle(f"{title}: outputs of hidden units", fontsize="medium")
    return figure


def attributions(
    found: Array, names: Sequence[str], shape: tuple[int, ...] | None, title: str, features: Sequence[str] = ()
) -> Figure:
    """Mean |input × slope| by class, [classes, q]: an image a class where inputs are images, else a bar an input."""
    rows = found[:MOST_CLASSES]
    if shape is not None and len(shape) == 2:
        figure = Figure(figsize=(1.2 + 1.25 * min(5, len(rows)), 0.9 + 1.35 * -(-len(rows) // 5)), layout="constrained")
        grid = figure.subplots(-(-len(rows) // 5), min(5, len(rows)), squeeze=False)
        for axes in grid.flat:
            axes.axis("off")
        for axes, row, name in zip(grid.flat, rows, names, strict=False):
            drawn = axes.imshow(row.reshape(shape), cmap=GROWING, vmin=0, vmax=float(rows.max()) or 1.0)
            axes.set_title(name, fontsize="small")
        figure.colorbar(drawn, ax=grid, shrink=0.7, label="|x · ∂z/∂x|")
    else:
        order = np.argsort(-rows.max(axis=0), kind="stable")[:MOST_BARS]
        figure = Figure(figsize=(5.2, 1.4 + 0.17 * len(order) * max(1, min(3, len(rows)))), layout="constrained")
        axes = figure.subplots()
        height = 0.8 / len(rows)
        for number, row in enumerate(rows):
            name = f"class {names[number]}" if len(names) > number else "output"
            places = np.arange(len(order)) + height * number
            hatch = HATCHES[number % len(HATCHES)]
            axes.barh(places, row[order], height, color=PALETTE[number % len(PALETTE)], hatch=hatch, label=name)
        axes.set_yticks(np.arange(len(order)) + 0.4 - height / 2)
        axes.set_yticklabels([features[i] if len(features) > i else f"x{i + 1}" for i in order], fontsize="small")
        axes.invert_yaxis()
        axes.set_xlabel("mean |x · ∂z/∂x|")
        if len(rows) > 1:
            axes.legend(fontsize="small")
    figure.suptitle(f"{title}: what the output depends on", fontsize="medium")
    return figure


def slices(places: Array, losses: Mapping[str, Array], names: tuple[str, str]) -> Figure:
    """Loss along the straight line between two solutions, at 0 and 1."""
    figure = Figure(figsize=(5.4, 3.4), layout="constrained")
    axes = figure.subplots()
    for (part, values), colour, dash in zip(losses.items(), (BLUE, ORANGE, GREY), ("-", "--", ":"), strict=False):
        axes.plot(places, values, color=colour, linestyle=dash, label=part)
    for place in (0, 1):
        axes.axvline(place, color="black", linewidth=0.6)
    drawn = np.concatenate(list(losses.values()))
    if drawn.min() > 0 and drawn.max() > 10 * drawn.min():
        axes.set_yscale("log")
    axes.set(xlabel=f"0: {names[0]}    1: {names[1]}", ylabel="loss")
    axes.legend(fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title("loss on the straight line between two solutions", fontsize="medium")
    return figure
