"""Networks against softmax regression on splice junctions, and on windows where regression can be optimal."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from mlpexp.claims import Claim, above, judged, within
from mlpexp.data.prepare import load
from mlpexp.paper import COLOURS, THEORY, Figure, panels
from mlpexp.results import Result
from mlpexp.verdicts import mean

MARGIN = 0.01  # a point of accuracy: six of the 637 windows of the test part
PILOT, DRAWN_PILOT = 0.006, 0.01
"""Standard deviations of differences between three seeds at a smaller size (--size smoke), rounded up."""
TEST_OVER_TRAINING = 0.2 / 0.6  # rows of the parts
SCORE, CHANCE = "accuracy/test", 0.25
PARTS = {"junctions": "splice junctions", "drawn": "drawn windows"}
PICKED = {"learning rate": "optimizer.learning_rate", "l2": "training.l2"}
REGRESSION, ONE, TWO = "regression", "one hidden layer", "two hidden layers"


def read(run: Result) -> dict[str, Any]:
    """The best accuracy possible, where it is known."""
    if run.config.data.name != "splice_sites":
        return {"best_possible": np.nan}
    return {"best_possible": load(run.config.data).bayes_accuracy}


def draw(table: pd.DataFrame) -> Figure:
    figure, plots = panels(2)
    for axes, (part, title) in zip(plots, PARTS.items(), strict=True):
        own = table[table["part"] == part]
        names = list(own["condition"].unique())
        for place, condition in enumerate(names):
            scores = accuracies(table, part, condition)
            seen = mean(list(scores))
            reach = (seen.high - seen.value) * overlap(len(scores))
            colour = COLOURS[place]
            splits = np.full(len(scores), place)
            axes.plot(splits, scores, "o", color=colour, alpha=0.25, label=f"_{condition}, splits")
            axes.vlines(place + 0.15, seen.value - reach, seen.value + reach, color=colour, label=f"_{condition}")
            axes.plot([place + 0.15], [seen.value], "s", color=colour, label=f"_{condition}, mean")
        if "best_possible" in own and own["best_possible"].notna().any():
            axes.axhline(own["best_possible"].iloc[0], **THEORY, label="best possible")
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0.88))
        axes.set_title(title, loc="left")
        axes.set_xticks(range(len(names)), [name.replace(" hidden", "\nhidden") for name in names])
        axes.set_xlim(-0.4, len(names) - 0.5)
        axes.set_ylabel("accuracy, test")
    return figure


def accuracies(table: pd.DataFrame, part: str, condition: str) -> pd.Series:
    """Accuracy on the test part by outer split, the mean of its training seeds; a diverged run counts as chance."""
    own = table[(table["part"] == part) & (table["condition"] == condition)]
    return own.assign(score=own[SCORE].fillna(CHANCE)).groupby("data.split.seed")["score"].mean()


def overlap(splits: int) -> float:
    """By how much the standard error over random splits is larger than 1/√J says (Nadeau & Bengio 2003)."""
    return float(np.sqrt(1 + splits * TEST_OVER_TRAINING))


def over_splits(claim: Claim) -> Claim:
    """The claim with the standard error of splits whose training parts overlap."""
    return replace(claim, error=claim.error * overlap(claim.count))


def claims(table: pd.DataFrame) -> list[Claim]:
    def gain(part: str, condition: str) -> pd.Series:
        return accuracies(table, part, condition) - accuracies(table, part, REGRESSION)

    found = [
        above(
            "one_layer_reads_better",
            "on splice junctions one hidden layer is over a point better than tuned softmax regression",
            gain("junctions", ONE),
            MARGIN,
            PILOT,
            "Noordewier et al. 1991, of networks on these windows",
        ),
        above(
            "two_layers_read_better",
            "so are two hidden layers",
            gain("junctions", TWO),
            MARGIN,
            PILOT,
            "Noordewier et al. 1991, of networks on these windows",
        ),
        within(
            "independent_bases_need_no_layer",
            "where bases are independent given the class one hidden layer makes less than a point of difference",
            gain("drawn", ONE),
            MARGIN,
            DRAWN_PILOT,
            "the logarithms of likelihoods are sums there: the control",
        ),
    ]
    return judged([over_splits(claim) for claim in found])


def tabular(table: pd.DataFrame) -> pd.DataFrame:
    """Windows, model, what was picked on the outer splits, accuracy on validation and test parts."""
    rows = []
    for (part, condition), own in table.groupby(["part", "condition"], sort=False):
        scores = {name: str(mean(list(own[f"accuracy/{name}"].dropna()))) for name in ("validation", "test")}
        picked = {name: several(own[key]) for name, key in PICKED.items()}
        cells = {"windows": PARTS[str(part)], "model": condition} | picked
        rows.append(cells | scores)
    return pd.DataFrame(rows)


def several(values: pd.Series) -> str:
    """`0.001–0.003`, or one number."""
    found = dict.fromkeys((f"{values.min():g}", f"{values.max():g}"))
    return "–".join(found)
