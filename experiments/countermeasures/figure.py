"""How deep a network still trains with each of five remedies, and what each adds beside the others."""

from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlpexp.claims import Claim, above, judged
from mlpexp.paper import THEORY, Figure, curve, forest, means, panels, powers_of_two
from mlpexp.verdicts import mean

DEPTH_MARGIN = 5.0  # layers
DEPTH_PILOT = 4.0
"""Standard deviation between seeds if some end a step of the grid (8, 12, 20) earlier than the others."""
TRAINED = 0.67
"""Accuracy on the test part: 82 % of the way from chance, 0.1, to softmax regression, which has 0.80."""
SCORE, CHANCE = "accuracy/test", 0.1
BASE = "none"
REMEDIES = {
    "ReLU": ("model.activation", "relu"),
    "initialisation": ("initialisation.name", "he"),
    "batch norm": ("model.batch_norm", "before"),
    "skip": ("model.skip", True),
    "Adam": ("optimizer.name", "adam"),
}
EXPLODES, FITTED = "skip + He", "skip + fitted"
CURVES = {**{name: number for number, name in enumerate(REMEDIES)}, BASE: 6, EXPLODES: 5, FITTED: 0}
SPELT = {"skip": "skip (sigmoid, torch)", EXPLODES: "skip, ReLU, He", FITTED: "skip, ReLU, fitted"}
GROWTH = 1.0  # of ln‖∂ℓ/∂X‖² through all layers with a skip, to which σ_w is fitted
SOURCES = {
    "ReLU": "Glorot, Bordes & Bengio 2011",
    "initialisation": "Glorot & Bengio 2010",
    "batch norm": "Ioffe & Szegedy 2015",
    "skip": "He et al. 2016",
    "Adam": "Kingma & Ba 2015",
}


def draw(table: pd.DataFrame) -> Figure:
    figure, (accuracy, skips, effects) = panels(3)
    own = table[table["part"] == "depths"]
    for axes, names in ((accuracy, (*REMEDIES, BASE)), (skips, ("skip", EXPLODES, FITTED))):
        for name in names:
            runs = own[own["condition"] == name]
            line = means(runs.assign(score=runs[SCORE].fillna(CHANCE)), "model.depth", "score")
            curve(
                axes,
                line["model.depth"],
                line,
                SPELT.get(name, name) if axes is skips else name,
                CURVES[name],
                band=False,
            )
        axes.axhline(TRAINED, **THEORY, label="_trained")
        powers_of_two(axes, sorted(own["model.depth"].unique()))
        axes.set_yticks(np.linspace(0, 1, 6))
        axes.set_xlabel("depth (weight matrices)")
        axes.set_ylabel("accuracy, test")
    accuracy.set_ylim(0, 1.32)
    accuracy.legend(loc="upper left", ncols=3)
    skips.set_ylim(0, 1.05)
    skips.legend(loc="lower left")
    found = {name: mean(list(gain_among_others(table, name))) for name in REMEDIES}
    forest(effects, {name: (seen.value, seen.low, seen.high) for name, seen in found.items()})
    effects.set_xlabel("accuracy gained at depth 12")
    return figure


def trainable_depth(table: pd.DataFrame, condition: str) -> pd.Series:
    """The depth at which accuracy first falls below TRAINED, on a line between the two depths of the grid, by seed.

    The largest depth where it never does; the least where even that is not trained.
    """
    own = table[(table["part"] == "depths") & (table["condition"] == condition)]
    by_seed = own.pivot(index="seed", columns="model.depth", values=SCORE).fillna(CHANCE)
    return by_seed.apply(lambda row: crossing(np.array(row.index, float), row.to_numpy(float)), axis=1)


def crossing(depths: NDArray[np.float64], scores: NDArray[np.float64]) -> float:
    """Where the line through the scores first falls below TRAINED."""
    below = np.flatnonzero(scores < TRAINED)
    if not len(below):
        return float(depths[-1])
    after = int(below[0])
    if after == 0:
        return float(depths[0])
    share = (scores[after - 1] - TRAINED) / (scores[after - 1] - scores[after])
    return float(depths[after - 1] + share * (depths[after] - depths[after - 1]))


def fitted_sigma_w(depth: int) -> float:
    """σ_w at which ln‖∂ℓ/∂X‖² grows by `GROWTH` through the L − 2 layers that ReLU skips, by the theory of wide layers.

    A layer makes 1 + σ_w² E σ′² of the square (Yang & Schoenholz 2017), and E σ′² of ReLU is ½ at every length.
    """
    return float(np.sqrt(2 * np.expm1(GROWTH / (depth - 2))))


def gain_among_others(table: pd.DataFrame, remedy: str) -> NDArray[np.float64]:
    """Accuracy with a remedy less that without it, over all settings of the others in the factorial, by seed."""
    own = table[table["part"] == "factorial"]
    key, value = REMEDIES[remedy]
    has = own[key].fillna("") == value
    with_it, without = (
        own[chosen].assign(score=own[SCORE].fillna(CHANCE)).groupby("seed")["score"].mean() for chosen in (has, ~has)
    )
    gain: NDArray[np.float64] = (with_it - without).to_numpy()
    return gain


def claims(table: pd.DataFrame) -> list[Claim]:
    base = trainable_depth(table, BASE)
    return judged(
        [
            above(
                name.replace(" ", "_").lower(),
                f"{name} alone adds over {DEPTH_MARGIN:g} layers to the depth that still trains",
                trainable_depth(table, name) - base,
                DEPTH_MARGIN,
                DEPTH_PILOT,
                SOURCES[name],
            )
            for name in REMEDIES
        ]
        + [
            above(
                "fitted_skip",
                f"σ_w fitted to skip adds over {DEPTH_MARGIN:g} layers to what skip, ReLU and He's σ_w train",
                trainable_depth(table, FITTED) - trainable_depth(table, EXPLODES),
                DEPTH_MARGIN,
                DEPTH_PILOT,
                "Yang & Schoenholz 2017; Hanin & Rolnick 2018",
            )
        ]
    )


def tabular(table: pd.DataFrame) -> pd.DataFrame:
    """Every setting of the factorial with its accuracy, and the depth that each remedy alone still trains."""
    rows = [
        {"remedies": f"{name} alone: trainable depth", "accuracy, test": str(mean(list(trainable_depth(table, name))))}
        for name in (BASE, *REMEDIES, EXPLODES, FITTED)
    ]
    own = table[table["part"] == "factorial"]
    for chosen in product((False, True), repeat=len(REMEDIES)):
        setting = np.ones(len(own), dtype=bool)
        for on, (key, value) in zip(chosen, REMEDIES.values(), strict=True):
            setting &= ((own[key].fillna("") == value) == on).to_numpy()
        names = " + ".join(name for on, name in zip(chosen, REMEDIES, strict=True) if on) or "none"
        rows.append({"remedies": names, "accuracy, test": str(mean(list(own[setting][SCORE].fillna(CHANCE))))})
    return pd.DataFrame(rows)
