"""Accuracy over the batch size, at equal epochs and at equal updates."""

import pandas as pd

from mlpexp.claims import Claim, above, judged
from mlpexp.paper import Figure, curve, means, panels, powers_of_two

MARGIN = 0.005  # half a point of accuracy
PILOT = 0.008
"""Standard deviation of paired differences between three other seeds (seed=1000) of digits: 0.002 to 0.008."""
SMALL = 32
SCORE, CHANCE = "accuracy/test", 0.1


def draw(table: pd.DataFrame) -> Figure:
    figure, (axes,) = panels()
    for number, (condition, own) in enumerate(table.groupby("condition", sort=False)):
        line = means(own, "training.batch_size", SCORE)
        curve(axes, line["training.batch_size"], line, f"after {condition}", number)
    powers_of_two(axes, sorted(table["training.batch_size"].unique()))
    axes.set_xlabel("examples in a batch, m")
    axes.set_ylabel("accuracy, test")
    axes.legend(loc="lower right")
    return figure


def claims(table: pd.DataFrame) -> list[Claim]:
    found = []
    for part in ("epochs", "updates"):
        own = table[table["part"] == part]
        small, large = best(own, below=True), best(own, below=False)
        gain = by_seed(own, small) - by_seed(own, large)
        if part == "epochs":
            statement = f"at equal epochs the best m ≤ {SMALL} ({small}) is more than {MARGIN:g} better than the best"
            statement += f" larger one ({large})"
        else:
            gain = -gain
            statement = f"at equal updates it is the other way round: m = {large} is more than {MARGIN:g} better than"
            statement += f" m = {small}"
        found.append(above(f"equal_{part}", statement, gain, MARGIN, PILOT, "Masters & Luschi 2018"))
    return judged(found)


def tabular(table: pd.DataFrame) -> pd.DataFrame:
    """Batch size, the learning rate that was picked, accuracy on the test part, at both budgets."""
    rows = []
    for (condition, size), own in table.groupby(["condition", "training.batch_size"], sort=False):
        seen = means(own.assign(all=0), "all", SCORE).iloc[0]
        rate = own["optimizer.learning_rate"].iloc[0]
        score = f"{seen['value']:.4f} ± {seen['high'] - seen['value']:.4f}"
        rows.append({"budget": condition, "m": size, "learning rate": f"{rate:g}", "accuracy, test": score})
    return pd.DataFrame(rows)


def best(runs: pd.DataFrame, below: bool) -> int:
    """The batch size of at most `SMALL` (else above it) with the best mean accuracy on the validation part."""
    own = runs[(runs["training.batch_size"] <= SMALL) == below]
    score = own["accuracy/validation"].fillna(CHANCE).groupby(own["training.batch_size"]).mean()
    return int(score.index.to_numpy()[score.to_numpy().argmax()])


def by_seed(runs: pd.DataFrame, size: int) -> pd.Series:
    """Accuracy on the test part by seed; a diverged run counts as chance."""
    own = runs[runs["training.batch_size"] == size]
    return own.set_index("seed")[SCORE].fillna(CHANCE)
