"""Accuracy over depth at an equal number of parameters, and equal epochs or equal FLOPs."""

import pandas as pd

from mlpexp.claims import Claim, above, judged
from mlpexp.data.catalogue import spoken
from mlpexp.paper import Figure, curve, means, panels, powers_of_two

MARGIN = 0.005  # half a point of accuracy
PILOTS = {"pictures": 0.006, "mnist1d": 0.012}
"""Standard deviation of paired differences between three other seeds (seed=1000), of digits for pictures."""
SHALLOW = 2
SCORE, CHANCE = "accuracy/test", 0.1
SETS = ("pictures", "mnist1d")
BUDGETS = {"": "equal epochs", "_flops": "equal FLOPs"}
PARTS = {data + budget: (data, budget) for data in SETS for budget in BUDGETS}


def draw(table: pd.DataFrame) -> Figure:
    figure, axes = panels(len(SETS))
    for panel, data in zip(axes, SETS, strict=True):
        for number, (budget, label) in enumerate(BUDGETS.items()):
            own = table[table["part"] == data + budget]
            line = means(own, "model.depth", SCORE)
            curve(panel, line["model.depth"], line, label, number)
        powers_of_two(panel, sorted(own["model.depth"].unique()))
        panel.set_title(word(own), loc="left")
        panel.set_xlabel("depth (weight matrices), equal parameters")
        panel.set_ylabel("accuracy, test")
        panel.legend(loc="lower left")
    return figure


def claims(table: pd.DataFrame) -> list[Claim]:
    found = []
    for part, (data, budget) in PARTS.items():
        own = table[table["part"] == part]
        depth = best(own)
        gain = by_seed(own, depth) - by_seed(own, SHALLOW)
        best_one = f"the best depth above 2 ({depth})"
        statement = f"{word(own)}, {BUDGETS[budget]}: {best_one} is more than half a point better than 2"
        source = "Eldan & Shamir 2016; Telgarsky 2016: what depth can do"
        found.append(above(f"depth_{part}", statement, gain, MARGIN, PILOTS[data], source))
    return judged(found)


def tabular(table: pd.DataFrame) -> pd.DataFrame:
    """Data, depth, width, the learning rate that was picked, accuracy on the test part."""
    rows = []
    for (part, depth), own in table.groupby(["part", "model.depth"], sort=False):
        seen = means(own, "model.depth", SCORE).iloc[0]
        _, budget = PARTS[str(part)]
        cells = {"data": word(own), "budget": BUDGETS[budget], "L": depth, "width": own["model.width"].iloc[0]}
        cells |= {"learning rate": f"{own['optimizer.learning_rate'].iloc[0]:g}"}
        rows.append(cells | {"accuracy, test": f"{seen['value']:.4f} ± {seen['high'] - seen['value']:.4f}"})
    return pd.DataFrame(rows)


def word(runs: pd.DataFrame) -> str:
    """What their data set is called."""
    return spoken(str(runs["data.name"].iloc[0]))


def best(runs: pd.DataFrame) -> int:
    """The depth above two with the best mean accuracy on the validation part."""
    own = runs[runs["model.depth"] > SHALLOW]
    score = own["accuracy/validation"].fillna(CHANCE).groupby(own["model.depth"]).mean()
    return int(score.index.to_numpy()[score.to_numpy().argmax()])


def by_seed(runs: pd.DataFrame, depth: int) -> pd.Series:
    """Accuracy on the test part by seed; a diverged run counts as chance."""
    return runs[runs["model.depth"] == depth].set_index("seed")[SCORE].fillna(CHANCE)
