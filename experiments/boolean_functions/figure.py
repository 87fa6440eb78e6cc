"""XOR: what one unit, a designed net, and trained networks of growing width make of it."""

from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from mlpexp.claims import Claim, below, judged, share_above
from mlpexp.paper import THEORY, Figure, panel_over_row, powers_of_two, share_interval
from mlpexp.results import Result

SUCCESS = 0.99
SHARE_MARGIN = 0.1  # ten seeds in a hundred
BOUND = 0.75  # three corners of four
SINGLE_MARGIN, SINGLE_PILOT = 0.01, 0.02
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
    shares.vlines(widths, [low for _, low, _ in seen], [high for _, _, high in seen], label="_MLP")
    shares.plot(widths, [share for share, _, _ in seen], "o-", label="MLP, one hidden layer")
    shares.axhline(0, **THEORY, label="a single unit")
    powers_of_two(shares, widths)
    shares.set_ylim(-0.05, 1.05)
    shares.set_xlabel("hidden units")
    shares.set_ylabel("share of seeds that solve XOR")
    shares.legend(loc="lower right")
    shown = {"no hidden": table[table["part"] == "single"]}
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
    return figure


def claims(table: pd.DataFrame) -> list[Claim]:
    solved = successes(table)
    widths = [int(width) for width in solved.columns]
    narrow, wide = min(width for width in widths if width >= 2), max(widths)
    single = table[table["part"] == "single"][SCORE]
    return judged(
        [
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


def successes(table: pd.DataFrame) -> pd.DataFrame:
    """Whether a seed's network solves XOR, [seeds, widths]; one that diverged does not."""
    own = table[table["part"] == "width"]
    solved: pd.DataFrame = own.pivot(index="seed", columns="model.width", values=SCORE).fillna(0.0) >= SUCCESS
    return solved
