"""The signal δ_l over the layers before training, against mean-field theory; accuracy over depth after training."""

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlpexp.claims import Claim, above, below, in_all_cases, judged, within
from mlpexp.kernel.initialisation import SCHEMES
from mlpexp.kernel.layout import Layout
from mlpexp.paper import THEORY, Figure, curve, means, panels, powers_of_two, whole_numbers
from mlpexp.results import Result
from mlpexp.theory import Architecture, activation, predict

SLOPE_MARGIN = 0.1  # of ln‖δ‖² a layer: 10 % of the square, 5 % of the norm
ACCURACY_MARGIN = 0.05
SLOPE_PILOT, ACCURACY_PILOT = 0.03, 0.02  # standard deviations between three other seeds (seed=1000)

SHOWN = {
    ("sigmoid", "glorot"): 5,
    ("tanh", "glorot"): 1,
    ("relu", "torch_default"): 2,
    ("relu", "glorot"): 3,
    ("relu", "he"): 0,
}
"""What the first panel shows, in which colour: that of the second panel, and of other studies' ReLU and tanh."""
WORDS = {"relu": "ReLU", "he": "He", "glorot": "Glorot", "lecun": "LeCun", "torch_default": "torch"}


def read(run: Result) -> dict[str, Any]:
    """‖δ_l‖ before training, and the widths that theory needs: k_1 … k_{L+1}."""
    if "delta_norm" not in run.record.quantities:
        return {}
    return {"delta_norm": run.record["delta_norm"][0], "widths": tuple(run.facts["widths"])}


def draw(table: pd.DataFrame) -> Figure:
    figure, (signal, accuracy) = panels(2)
    start = table[table["part"] == "start"]
    for (name, scheme), number in SHOWN.items():
        own = start[(start["model.activation"] == name) & (start["initialisation.name"] == scheme)]
        if own.empty:
            continue
        profile = means(relative_profiles(own), "layer", "log_signal")
        profile[["value", "low", "high"]] = np.exp(profile[["value", "low", "high"]])
        curve(signal, profile["layer"], profile, f"{WORDS.get(name, name)}, {WORDS[scheme]}", number)
        theory = np.exp(predicted(name, scheme, own["widths"].iloc[0]) / 2)
        signal.plot(profile["layer"], theory, **THEORY, zorder=3, label="_theory")
    signal.plot([], [], **THEORY, label="theory")
    whole_numbers(signal)
    signal.set_yscale("log")
    signal.set_xlabel("layer (1 is next to the input)")
    signal.set_ylabel(r"signal $\|\delta_\ell\|/\|\delta_L\|$")
    signal.legend(loc="lower right")
    trained = table[table["part"] == "accuracy"]
    for number, (condition, own) in enumerate(trained.groupby("condition", sort=False)):
        line = means(own, "model.depth", "accuracy/test")
        first = own.iloc[0]
        colour = SHOWN[first["model.activation"], first["initialisation.name"]]
        curve(accuracy, line["model.depth"], line, str(condition), colour, mark=number)
    powers_of_two(accuracy, sorted(trained["model.depth"].unique()))
    accuracy.set_xlabel("depth (weight matrices)")
    accuracy.set_ylabel("accuracy, test")
    accuracy.set_ylim(0, 1)
    accuracy.legend(loc="lower left")
    return figure


def claims(table: pd.DataFrame) -> list[Claim]:
    source = "Schoenholz et al. 2017"
    cases = {
        f"{name}, {scheme}": within("slope", "", slopes(own)["difference"], SLOPE_MARGIN, SLOPE_PILOT, source)
        for (name, scheme), own in by_scheme(table)
    }
    statement = "the slope of ln‖δ‖² over depth is that of mean-field theory for every activation and initialisation"
    found = [in_all_cases("slope", statement, cases)]
    for optimizer in ("momentum", "Adam"):
        for kind, judge, word in (("sigmoid/Glorot", above, "more"), ("ReLU/He", below, "less")):
            lost, depths = accuracy_lost(table, f"{kind}, {optimizer}")
            name = f"{kind.partition('/')[0].lower()}_{optimizer.lower()}"
            text = (
                f"{kind} with {optimizer} loses {word} than 5 points of accuracy from depth {depths[0]} to {depths[1]}"
            )
            found.append(judge(name, text, lost, ACCURACY_MARGIN, ACCURACY_PILOT, "Glorot & Bengio 2010"))
    return judged(found)


def tabular(table: pd.DataFrame) -> pd.DataFrame:
    """Slopes of ln‖δ‖² a layer towards the input, measured and predicted."""
    rows = []
    for (name, scheme), own in by_scheme(table):
        found = slopes(own)
        rows.append(
            {
                "activation": name,
                "initialisation": scheme,
                "measured": f"{found['measured'].mean():.3f} ± {found['measured'].std():.3f}",
                "theory": f"{found['theory'].iloc[0]:.3f}",
            }
        )
    return pd.DataFrame(rows)


def by_scheme(table: pd.DataFrame) -> list[tuple[tuple[str, str], pd.DataFrame]]:
    """Runs before training by (activation, initialisation)."""
    start = table[table["part"] == "start"]
    groups = start.groupby(["model.activation", "initialisation.name"], sort=False)
    return [((str(name), str(scheme)), own) for (name, scheme), own in groups]


def slopes(runs: pd.DataFrame) -> pd.DataFrame:
    """Of each seed the slope of ln‖δ_l‖² towards the input, by least squares over hidden layers; theory's, likewise."""
    first = runs.iloc[0]
    theory = slope(predicted(first["model.activation"], first["initialisation.name"], first["widths"]))
    measured = [slope(2 * np.log(norms)) for norms in runs["delta_norm"]]
    found = pd.DataFrame({"measured": measured, "theory": theory})
    return found.assign(difference=found["measured"] - found["theory"])


def slope(log_squares: NDArray[np.float64]) -> float:
    """A layer's change of ln‖δ_l‖² towards the input; the last layer, which is linear, is left out."""
    hidden = np.asarray(log_squares, dtype=float)[:-1]
    return -float(np.polyfit(np.arange(len(hidden)), hidden, 1)[0])


def relative_profiles(runs: pd.DataFrame) -> pd.DataFrame:
    """ln(‖δ_l‖/‖δ_L‖), one row a seed and layer."""
    rows = []
    for norms in runs["delta_norm"]:
        relative = np.log(norms) - np.log(norms[-1])
        rows += [{"layer": l, "log_signal": value} for l, value in enumerate(relative, start=1)]
    return pd.DataFrame(rows)


@cache
def predicted(name: str, scheme: str, widths: tuple[int, ...]) -> NDArray[np.float64]:
    """ln(‖δ_l‖²/‖δ_L‖²) of wide layers, [L], for standardised inputs (mean square 1)."""
    hidden = [activation(name)] * (len(widths) - 2)
    variances = SCHEMES[scheme]().variances(Layout(widths, bias=True))
    return np.asarray(predict(Architecture(hidden, *variances), 1.0).log_delta2)


def accuracy_lost(table: pd.DataFrame, condition: str) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """Accuracy at depth 2 less that at the largest depth, one a seed; both depths. A diverged run counts as chance."""
    own = table[(table["part"] == "accuracy") & (table["condition"] == condition)]
    by_seed = own.pivot(index="seed", columns="model.depth", values="accuracy/test").fillna(0.1)
    deepest = int(by_seed.columns.max())
    return (by_seed[2] - by_seed[deepest]).to_numpy(), (2, deepest)
