"""Dead units over the learning rate and over time, and whether a slope below zero revives them."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlpexp.claims import Claim, above, judged, within
from mlpexp.data.prepare import prepare
from mlpexp.paper import Figure, curve, means, panels, whole_numbers
from mlpexp.results import Result
from mlpexp.verdicts import mean

KILLED_MARGIN, SPARED_MARGIN, REVIVED_MARGIN = 0.1, 0.05, 0.05  # shares of all hidden units
KILLED_PILOT, SPARED_PILOT, REVIVED_PILOT = 0.1, 0.03, 0.1
"""Standard deviations between three seeds at a smaller size (--size smoke), rounded up."""
LARGE = 0.3
EPOCHS, BATCH, SLOPE = 10, 64, 0.1  # of what follows the training
LENGTHS = (0.1, 1.0, 10.0)  # of a step of it, at most; the claim is about the first
SCORE, CHANCE, CLASSES = "accuracy/test", 0.1, 10

Floats = NDArray[np.float64]
Layers = list[tuple[Floats, Floats]]
"""W_l [k_l, k_{l+1}] and b_l."""


def read(run: Result) -> dict[str, Any]:
    """Dead units by epoch and those killed, shares of all hidden units; after large steps, what then revives them."""
    _, dead = run.record.measured("dead_units")
    _, killed = run.record.measured("killed_units")
    hidden = slice(0, run.config.model.depth - 1)
    own: dict[str, Any] = {
        "dead": tuple(dead[:, hidden].mean(axis=1).astype(float)),
        "killed": float(killed[-1, hidden].mean()),
    }
    if run.status == "diverged":
        return {"dead": (), "killed": np.nan}
    if run.config.optimizer.learning_rate == LARGE:
        after = {slope: tuple(dead_units(run, slope, length) for length in LENGTHS) for slope in (0.0, SLOPE)}
        own |= {"as_trained": dead_units(run, 0.0, 0.0), "relu": after[0.0], "slope": after[SLOPE]}
    return own


def dead_units(run: Result, slope: float, length: float) -> float:
    """Share of hidden units that are off for the whole training part after further epochs of gradient descent with that
    slope below zero, in steps of at most that length (0: as trained); the batches are the same for all.
    """
    part = prepare(run.config.data).training
    inputs, classes = np.asarray(part.features, float), np.asarray(part.targets, int)
    state = {name: value.double().numpy() for name, value in run.network().state_dict().items()}
    layers = [
        (state[f"layers.{l}.weight"].T.copy(), state[f"layers.{l}.bias"].copy()) for l in range(run.config.model.depth)
    ]
    if length > 0:
        generator = np.random.default_rng(run.config.seed)
        for _ in range(EPOCHS):
            order = generator.permutation(len(inputs))
            for rows in np.split(order, range(BATCH, len(order), BATCH)):
                descend(layers, inputs[rows], np.eye(CLASSES)[classes[rows]], slope, length)
    return float(np.mean([(z <= 0).all(axis=0) for z in forward(layers, inputs, 0.0)[:-1]]))


def forward(layers: Layers, inputs: Floats, slope: float) -> list[Floats]:
    """z_l of every layer for normalised inputs [B, q]."""
    found, x = [], inputs
    for weight, bias in layers:
        found.append(x @ weight + bias)
        x = np.where(found[-1] > 0, found[-1], slope * found[-1])
    return found


def descend(layers: Layers, inputs: Floats, targets: Floats, slope: float, longest: float) -> None:
    """One update, in place: the gradient g of the mean cross-entropy times `longest`, over ‖g‖ if above 1."""
    z = forward(layers, inputs, slope)
    f = np.exp(z[-1] - z[-1].max(axis=1, keepdims=True))
    delta = f / f.sum(axis=1, keepdims=True) - targets
    gradients = []
    for l in reversed(range(len(layers))):
        x = np.where(z[l - 1] > 0, z[l - 1], slope * z[l - 1]) if l else inputs
        gradients.append((x.T @ delta / len(x), delta.mean(axis=0)))
        if l:
            delta = delta @ layers[l][0].T * np.where(z[l - 1] > 0, 1.0, slope)
    norm = np.sqrt(sum((part**2).sum() for pair in gradients for part in pair))
    factor = longest / max(norm, 1.0)
    for pair, gradient in zip(reversed(layers), gradients, strict=True):
        for value, part in zip(pair, gradient, strict=True):
            value -= factor * part


def draw(table: pd.DataFrame) -> Figure:
    figure, (course, dose, revived) = panels(3)
    rates = table[table["part"] == "rates"]
    shown = [("picked", table[table["part"] == "picked"]), *rates.groupby("optimizer.learning_rate", sort=True)]
    for number, (name, own) in enumerate(shown):
        line = means(by_epoch(own), "epoch", "dead")
        rate = own["optimizer.learning_rate"].iloc[0]
        curve(course, line["epoch"], line, f"γ = {rate:g}" + (", picked" if name == "picked" else ""), number)
    whole_numbers(course)
    course.set_xlabel("epoch")
    course.set_ylabel("dead units (share)")
    course.set_ylim(0, 1)
    course.legend(loc="upper left", ncols=2)
    line = means(rates, "optimizer.learning_rate", "killed")
    curve(dose, line["optimizer.learning_rate"], line, "killed by training (share)", 1)
    line = means(rates.assign(score=rates[SCORE].fillna(CHANCE)), "optimizer.learning_rate", "score")
    curve(dose, line["optimizer.learning_rate"], line, "accuracy, test", 0)
    dose.set_xscale("log")
    dose.set_ylim(-0.02, 1.02)
    dose.set_xlabel("learning rate")
    dose.set_ylabel("share")
    dose.legend(loc="center left")
    large = rates[rates["optimizer.learning_rate"] == LARGE]
    for number, (column, label) in enumerate((("relu", "ReLU as it is"), ("slope", f"slope {SLOPE:g}"))):
        rows = [{"length": x, "dead": y} for own in large[column].dropna() for x, y in zip(LENGTHS, own, strict=True)]
        line = means(pd.DataFrame(rows, columns=["length", "dead"]), "length", "dead")
        curve(revived, line["length"], line, label, (1, 2)[number])
    revived.axhline(large["as_trained"].mean(), color="black", linewidth=0.7, linestyle=":", label="as trained")
    revived.set_xscale("log")
    revived.set_ylim(0, 1)
    revived.set_xlabel("longest step of the further epochs")
    revived.set_ylabel("dead units (share)")
    revived.legend(loc="upper left", ncols=2)
    return figure


def claims(table: pd.DataFrame) -> list[Claim]:
    rates = table[table["part"] == "rates"]
    large = rates[rates["optimizer.learning_rate"] == LARGE].set_index("seed")
    picked = table[table["part"] == "picked"]
    return judged(
        [
            above(
                "large_steps_kill",
                f"at γ = {LARGE:g} training kills over {KILLED_MARGIN:.0%} of all hidden units, beyond those born off",
                large["killed"],
                KILLED_MARGIN,
                KILLED_PILOT,
                "Lu et al. 2020 for those born off; folklore for the others",
            ),
            within(
                "the_picked_rate_spares",
                f"at the learning rate that validation picks it kills less than {SPARED_MARGIN:.0%}",
                picked["killed"],
                SPARED_MARGIN,
                SPARED_PILOT,
                "the control",
            ),
            above(
                "a_slope_revives",
                f"a slope of {SLOPE:g} below zero, on for {EPOCHS} epochs, revives over {REVIVED_MARGIN:.0%} of all "
                "hidden units more than going on with the ReLU",
                first(large["relu"]) - first(large["slope"]),
                REVIVED_MARGIN,
                REVIVED_PILOT,
                "Maas et al. 2013: with a slope there is a gradient",
            ),
        ]
    )


def first(lengths: pd.Series) -> pd.Series:
    """Of what belongs to each of LENGTHS the first, by seed."""
    return lengths.map(lambda own: own[0], na_action="ignore").astype(float)


def tabular(table: pd.DataFrame) -> pd.DataFrame:
    """Learning rate, units killed, accuracy on the test part, runs that diverged."""
    rows = []
    for (part, rate), own in table.groupby(["part", "optimizer.learning_rate"], sort=False):
        killed, score = (mean(list(own[name].dropna())) for name in ("killed", SCORE))
        diverged = int((own["status"] == "diverged").sum())
        cells = {"killed": str(killed), "accuracy, test": str(score), "diverged": diverged}
        rows.append({"learning rate": f"{rate:g}" + (", picked" if part == "picked" else ""), **cells})
    return pd.DataFrame(rows)


def by_epoch(runs: pd.DataFrame) -> pd.DataFrame:
    """One row a seed and epoch."""
    rows = [{"epoch": i, "dead": value} for course in runs["dead"] for i, value in enumerate(course)]
    return pd.DataFrame(rows, columns=["epoch", "dead"])
