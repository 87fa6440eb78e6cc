"""Exact zeros of ReLU layers before and after training; accuracy over depth of ReLU, tanh and softplus."""

from typing import Any

import numpy as np
import pandas as pd

from mlpexp.claims import Claim, above, in_all_cases, judged
from mlpexp.paper import Figure, curve, means, panels, powers_of_two
from mlpexp.results import Result
from mlpexp.verdicts import mean

SPARSER_MARGIN = 0.02  # of all outputs of hidden units
LOSS_MARGIN = 0.01  # a point of accuracy
SPARSER_PILOT, LOSS_PILOT = 0.02, 0.015
"""Standard deviations between three seeds at a smaller size (--size smoke), rounded up."""
SCORE, CHANCE = "accuracy/test", 0.1
POINTS = 24


def read(run: Result) -> dict[str, Any]:
    """Share of exact zeros among outputs of hidden units, before training, over updates, and at the end of it."""
    if run.config.model.activation != "relu" or run.status == "diverged":
        return {"zeros": (), "updates": (), "start": np.nan, "end": np.nan}
    steps, values = run.record.measured("activation_zeros")
    zeros = values[:, : run.config.model.depth - 1].mean(axis=1).astype(float)
    tenth = max(1, len(zeros) // 10)
    shown = np.unique(np.geomspace(1, len(zeros), POINTS).round().astype(int)) - 1
    return {
        "zeros": tuple(zeros[shown]),
        "updates": tuple(int(step) for step in steps[shown]),
        "start": float(zeros[0]),
        "end": float(zeros[-tenth:].mean()),
    }


def draw(table: pd.DataFrame) -> Figure:
    figure, (sparsity, accuracy) = panels(2)
    relu = table[table["condition"] == "ReLU"]
    for number, (depth, own) in enumerate(relu.groupby("model.depth", sort=True)):
        rows = [
            {"update": step + 1, "zeros": zeros}
            for steps, values in zip(own["updates"], own["zeros"], strict=True)
            for step, zeros in zip(steps, values, strict=True)
        ]
        line = means(pd.DataFrame(rows, columns=["update", "zeros"]), "update", "zeros")
        curve(sparsity, line["update"], line, f"depth {depth}", number + 3)
    sparsity.axhline(0.5, color="black", linewidth=0.7, linestyle=":", label="_half")
    sparsity.set_xscale("log")
    sparsity.set_xlabel("update (1: before training)")
    sparsity.set_ylabel("exact zeros (share)")
    sparsity.legend(loc="upper left")
    for number, (condition, own) in enumerate(table.groupby("condition", sort=False)):
        line = means(own.assign(score=own[SCORE].fillna(CHANCE)), "model.depth", "score")
        curve(accuracy, line["model.depth"], line, str(condition), number)
    powers_of_two(accuracy, sorted(table["model.depth"].unique()))
    accuracy.set_xlabel("depth (weight matrices)")
    accuracy.set_ylabel("accuracy, test")
    accuracy.legend(loc="lower left")
    return figure


def claims(table: pd.DataFrame) -> list[Claim]:
    source = "Glorot, Bordes & Bengio 2011"
    relu = table[table["condition"] == "ReLU"]
    cases = {
        f"depth {depth}": above("sparser", "", own["end"] - own["start"], SPARSER_MARGIN, SPARSER_PILOT, source)
        for depth, own in relu.groupby("model.depth", sort=True)
    }
    statement = f"training without a penalty adds over {SPARSER_MARGIN:.0%} of zeros to ReLU networks of every depth"
    found = [in_all_cases("sparser", statement, cases)]
    shallow, deep = int(table["model.depth"].min()), int(table["model.depth"].max())
    for other in ("tanh", "softplus"):
        statement = f"from depth {shallow} to {deep} ReLU loses over a point of accuracy less than {other}"
        gain = lost(table, other) - lost(table, "ReLU")
        found.append(above(f"deeper_than_{other}", statement, gain, LOSS_MARGIN, LOSS_PILOT, source))
    return judged(found)


def lost(table: pd.DataFrame, condition: str) -> pd.Series:
    """Accuracy at the least depth less that at the largest, by seed; a diverged run counts as chance."""
    own = table[table["condition"] == condition]
    by_seed = own.pivot(index="seed", columns="model.depth", values=SCORE).fillna(CHANCE)
    return by_seed[by_seed.columns.min()] - by_seed[by_seed.columns.max()]


def tabular(table: pd.DataFrame) -> pd.DataFrame:
    """Activation, depth, what was picked, accuracy on the test part, zeros before and after training."""
    rows = []
    for (condition, depth), own in table.groupby(["condition", "model.depth"], sort=False):
        rate, gain = own["optimizer.learning_rate"].iloc[0], own["initialisation.gain"].iloc[0]
        cells = {
            "learning rate": f"{rate:g}",
            "gain": f"{gain:g}",
            "accuracy, test": str(mean(list(own[SCORE].dropna()))),
        }
        zeros = {name: f"{own[name].mean():.3f}" if own[name].notna().any() else "" for name in ("start", "end")}
        rows.append(
            {
                "activation": condition,
                "depth": depth,
                **cells,
                "zeros, start": zeros["start"],
                "zeros, end": zeros["end"],
            }
        )
    return pd.DataFrame(rows)
