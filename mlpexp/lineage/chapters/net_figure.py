"""A net of threshold units as a drawing, beside its truth table.

Flow: chapters.mcculloch_pitts → **net_figure** → figures.
"""

import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlpexp.figures import BLUE, ORANGE, Figure
from mlpexp.lineage.boolean_expression import Bits
from mlpexp.lineage.mcculloch_pitts import Net

Spots = dict[tuple[int, int], NDArray[np.float64]]
"""(input or unit, level) → x, y."""
ROWS_WRITTEN = 16
CONNECTIONS_LABELLED = 16
ROOM_FOR_NAMES = 17  # points of a unit's diameter; in smaller ones nothing is legible


def draw(text: str, net: Net, names: Sequence[str], rows: Bits, values: Bits) -> Figure:
    """Inputs are squares on the left, units circles, further right with each level; `values` [rows] is the output."""
    figure = Figure(figsize=(8.6, 4.6))
    axes = figure.add_axes((0.02, 0.1, 0.62, 0.74))
    spots = layout(net)
    places = np.array([spots[place] for place in enumerate(levels_of(net))])
    tallest = max(Counter(level for _, level in spots).values())
    diameter = float(np.clip(170 / tallest, 2, 38))  # points
    draw_connections(axes, net, spots, diameter)
    thresholds = [None] * len(net.inputs) + [unit.threshold for unit in net.units]
    for place, name, threshold in zip(places, names, thresholds, strict=True):
        shape, width = ("s", 0.75 * diameter) if threshold is None else ("o", diameter)
        axes.plot(*place, shape, markersize=width, color="white", markeredgecolor="black", markeredgewidth=0.8)
        if diameter >= ROOM_FOR_NAMES:
            below = "" if threshold is None else f"\nθ={threshold}"
            font = min(9.0, diameter * (0.25 if below else 0.3)) * min(1.0, 3.5 / len(name))
            axes.text(place[0], place[1], f"{name}{below}", ha="center", va="center", fontsize=font, linespacing=1.1)
        elif threshold is None:
            axes.text(-0.02 * places[:, 0].max(), place[1], name, ha="right", va="center", fontsize=8)
    last = places[:, 0].max()
    axes.set_xlim(-0.08 * last, 1.08 * last)
    axes.set_ylim(-0.1, 1.1)
    axes.axis("off")
    figure.text(0.02, 0.93, textwrap.shorten(text, 80, placeholder=" …"), fontsize=11)
    figure.text(0.02, 0.03, "excites", color=BLUE, fontsize=9)
    figure.text(0.105, 0.03, "inhibits (dashed)", color=ORANGE, fontsize=9)
    figure.text(0.29, 0.03, r"a unit fires where $\Sigma\,w\,x \geq \theta$", fontsize=9)
    table = figure.add_axes((0.7, 0.1, 0.28, 0.74))
    if len(rows) <= ROWS_WRITTEN:
        write_table(table, [*net.inputs, net.output], rows, values)
    else:
        picture_table(table, net, values)
    return figure


def layout(net: Net) -> Spots:
    """Where inputs and units stand, and where the connections that pass other levels go through these.

    x is the level; y in [0, 1] is near what a unit listens to, evenly spaced within its level.
    """
    levels = levels_of(net)
    reach = levels.copy()  # the last level in which somebody's connections need a spot
    for target, unit in enumerate(net.units, start=len(net.inputs)):
        for source, _ in unit.weights:
            reach[source] = max(reach[source], levels[target] - 1)
    spots: Spots = {}
    for level in range(max(levels) + 1):
        here = [i for i in range(len(levels)) if levels[i] <= level <= reach[i]]
        if level:
            sources = {i: [j for j, _ in net.units[i - len(net.inputs)].weights] for i in here if levels[i] == level}
            height = {i: np.mean([spots[j, level - 1][1] for j in sources.get(i, [i])] or [0.5]) for i in here}
            here.sort(key=lambda i: -height[i])
        for rank, i in enumerate(here):
            spots[i, level] = np.array([level, 1 - (rank + 0.5) / len(here)])
    return spots


def levels_of(net: Net) -> list[int]:
    """0 for each input, then the units' levels."""
    return [0] * len(net.inputs) + net.levels


def draw_connections(axes: Any, net: Net, spots: Spots, diameter: float) -> None:
    """An arrow for each weight; its number beside it where there are few."""
    levels = levels_of(net)
    labelled = net.connections <= CONNECTIONS_LABELLED
    for target, unit in enumerate(net.units, start=len(net.inputs)):
        for source, weight in unit.weights:
            way = [spots[source, level] for level in range(levels[source], levels[target])]
            colour, dashes = (ORANGE, "--") if weight < 0 else (BLUE, "-")
            width = min(1.2, diameter / 12)
            axes.plot(*np.transpose(way), dashes, color=colour, linewidth=width, zorder=0)
            style = {
                "arrowstyle": "-|>",
                "color": colour,
                "linestyle": dashes,
                "linewidth": width,
                "shrinkA": 0,
                "shrinkB": diameter / 2,
                "mutation_scale": min(10.0, diameter / 2),
            }
            axes.annotate("", spots[target, levels[target]], way[-1], arrowprops=style, zorder=0)
            if labelled:
                second = [*way, spots[target, levels[target]]][1]
                at = way[0] + 0.36 * (second - way[0])  # nearer to the source, where its arrows are apart
                label = f"{weight:+d}".replace("-", "−")
                box = {"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none"}
                axes.text(*at, label, color=colour, fontsize=8, ha="center", va="center", bbox=box)


def write_table(axes: Any, names: Sequence[str], rows: Bits, values: Bits) -> None:
    """0 and 1 in rows; the output's cell is filled where it is 1."""
    axes.axis("off")
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_ylim(ROWS_WRITTEN + 0.5, -0.7)
    font = min(9.0, 26.0 / max(map(len, names)))
    for column, name in enumerate(names):
        axes.text(column, 0, name, ha="center", va="center", fontsize=font, weight="bold")
    axes.axhline(0.5, color="black", linewidth=0.6)
    for row, (bits, value) in enumerate(zip(rows, values, strict=True), start=1):
        for column, bit in enumerate([*bits, value]):
            last = column == len(bits)
            if last:
                axes.plot(column, row, "s", markersize=11, color=BLUE if value else "#e6e6e6")
            axes.text(
                column,
                row,
                int(bit),
                ha="center",
                va="center",
                fontsize=9,
                color="white" if last and value else "black",
            )


def picture_table(axes: Any, net: Net, values: Bits) -> None:
    """A square for each row of the truth table: the first half of the inputs goes down, the second across."""
    first = len(net.inputs) // 2
    grid = values.reshape(2**first, -1)
    filled = np.array([int(BLUE[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    axes.imshow(np.where(grid[:, :, None], filled, 0.9), aspect="equal", interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    down, across = net.inputs[:first], net.inputs[first:]
    axes.set_ylabel(f"{down[0]} … {down[-1]} counted down")
    axes.set_xlabel(f"{across[0]} … {across[-1]} counted across")
    axes.set_title(f"{net.output}: {values.sum()} of {len(values)} rows are 1 (blue)", fontsize=9)
