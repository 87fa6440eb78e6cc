"""XOR: what one unit, a designed net, and trained networks of growing width make of it."""

from itertools import permutations, product
from typing import Any

import numpy as np
import pandas as pd

from mlpexp.claims import Claim, below, exact, judged, share_above
from mlpexp.lineage.boolean_expression import parse
from mlpexp.lineage.mcculloch_pitts import all_rows, compile_net
from mlpexp.lineage.perceptron import XOR, accuracy, learn
from mlpexp.paper import COLOURS, THEORY, Figure, panel_over_row, powers_of_two, share_interval
from mlpexp.results import Result

SUCCESS = 0.99
SHARE_MARGIN = 0.1  # ten seeds in a hundred
BOUND = 0.75  # three corners of four
SINGLE_MARGIN, SINGLE_PILOT = 0.01, 0.02  # standard deviation between ten other seeds (seed=1000): 0.013
SCORE = "accuracy/test"
SEEDS_DRAWN, CELLS = 15, 41


def read(run: Result) -> dict[str, Any]:
    """Outputs on a grid of the input plane, [41, 41], of the first seeds."""
    if run.config.seed % 100 >= SEEDS_DRAWN:
        return {"plane": None}
    import torch

    ticks = np.linspace(-1.6, 1.6, CELLS)
    inputs = torch.tensor([(x, y) for y, x in product(ticks, ticks)], dtype=torch.float64)
    with torch.no_grad():
        return {"plane": run.network()(inputs)[:, 0].numpy().reshape(CELLS, CELLS)}


def draw(table: pd.DataFrame) -> Figure:
    figure, shares, planes = panel_over_row(3)
    solved = successes(table)
    widths = [int(width) for width in solved.columns]
    seen = [share_interval(solved[width]) for width in widths]
    shares.vlines(widths, [low for _, low, _ in seen], [high for _, _, high in seen], color=COLOURS[0], label="_MLP")
    shares.plot(widths, [share for share, _, _ in seen], "o-", color=COLOURS[0], label="MLP, one hidden layer")
    shares.axhline(0, **THEORY, label="a single unit")
    powers_of_two(shares, widths)
    shares.set_ylim(-0.05, 1.05)
    shares.set_xlabel("hidden units")
    shares.set_ylabel("share of seeds that solve XOR")
    shares.legend(loc="center right")
    shown = {"a single unit": table[table["part"] == "single"]}
    for width in (2, 16):
        shown[f"{width} hidden"] = table[(table["part"] == "width") & (table["model.width"] == width)]
    for axes, (name, runs) in zip(planes, shown.items(), strict=True):
        plane = next(iter(runs.sort_values("seed")["plane"].dropna()))
        axes.imshow(plane, origin="lower", extent=(-1.6, 1.6, -1.6, 1.6), cmap="cividis", vmin=0, vmax=1, label=name)
        axes.plot([-1, 1], [-1, 1], "o", color="white", markeredgecolor="black", label="_class 0")
        axes.plot([-1, 1], [1, -1], "s", color="white", markeredgecolor="black", label="_class 1")
        axes.set_title(name)
        axes.grid(visible=False)
        axes.set_xticks([-1, 1])
        axes.set_yticks([-1, 1])
        axes.set_xlabel("input 1")
    planes[0].set_ylabel("input 2")
    return figure


def claims(table: pd.DataFrame) -> list[Claim]:
    solved = successes(table)
    widths = [int(width) for width in solved.columns]
    narrow, wide = min(width for width in widths if width >= 2), max(widths)
    single = table[table["part"] == "single"][SCORE]
    return judged(
        [
            exact(
                "nets_compute_all",
                "designed nets of threshold units compute all Boolean functions of two and of three inputs",
                [is_computed(inputs, number) for inputs in (2, 3) for number in range(2 ** (2**inputs))],
                "McCulloch & Pitts 1943",
            ),
            exact(
                "perceptron_stops",
                "Rosenblatt's rule never gets more than three corners of XOR right, in whatever order it sees them",
                [best_on_xor(order) <= BOUND for order in permutations(range(4))],
                "Rosenblatt 1957; Minsky & Papert 1969",
            ),
            below(
                "one_unit_stops",
                "a single unit gets no further than three corners of XOR in four: at most a point above 75 %",
                single - BOUND,
                SINGLE_MARGIN,
                SINGLE_PILOT,
                "Minsky & Papert 1969",
            ),
            share_above(
                "width_helps",
                f"the share of seeds that solve XOR is over ten points larger with {wide} than with {narrow} units",
                solved[wide].to_numpy(),
                solved[narrow].to_numpy(),
                SHARE_MARGIN,
            ),
        ]
    )


def is_computed(inputs: int, number: int) -> bool:
    """Whether the net designed for a Boolean function, given by its truth table as a binary number, computes it."""
    rows = all_rows(inputs)
    truth = (number >> np.arange(len(rows)) & 1).astype(bool)
    names = [f"x{i}" for i in range(1, inputs + 1)]
    terms = [" and ".join(n if bit else f"not {n}" for n, bit in zip(names, row, strict=True)) for row in rows[truth]]
    never = " and ".join([*names, "not x1"])
    net = compile_net(parse(" or ".join(f"({term})" for term in terms) or never))
    return bool((net.evaluate(rows) == truth).all())


def best_on_xor(order: tuple[int, ...]) -> float:
    """The best accuracy that the perceptron's weights ever have, shown the corners in this order."""
    inputs, labels = XOR
    course = learn(inputs[list(order)], labels[list(order)])
    return max(accuracy(weights, inputs, labels) for weights in course.path)


def successes(table: pd.DataFrame) -> pd.DataFrame:
    """Whether a seed's network solves XOR, [seeds, widths]; one that diverged does not."""
    own = table[table["part"] == "width"]
    solved: pd.DataFrame = own.pivot(index="seed", columns="model.width", values=SCORE).fillna(0.0) >= SUCCESS
    return solved
