"""What a search found, as files: a table of trials, importances, and pictures, interactive and as PNG.

Flow: study → **report** → the sweep's folder → tracking. Optuna draws; what it cannot draw of few trials is left out.
"""

import csv
import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from optuna import Study
from optuna import visualization as interactive
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState
from optuna.visualization import matplotlib as still

from mlpexp.figures import close, drawn, outline_ticks, save
from mlpexp.search.drive import RUNS
from mlpexp.search.goals import Goals
from mlpexp.search.studies import REASON, counted_trials, quiet

logging.getLogger("matplotlib.category").setLevel(logging.WARNING)  # it wonders at choices that are numbers

CONTOUR_KEYS = 2
"""So many of the most important keys are in the contour plot, which has a panel for each pair."""

Target = Callable[[FrozenTrial], float]

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>
<body style="font-family: sans-serif; max-width: 70rem; margin: auto"><h1>{title}</h1>
{body}
</body></html>
"""


def write_report(study: Study, goals: Goals, folder: Path) -> list[Path]:
    """`trials.csv`, `importances.csv`, `report.html` and PNGs in a folder; the files that were written."""
    folder.mkdir(parents=True, exist_ok=True)
    with quiet():
        importances = {name: importance(study, target) for name, target in zip(goals.names, losses(goals), strict=True)}
        files = [write_trials(study, goals, folder / "trials.csv")]
        if any(importances.values()):
            files.append(write_importances(importances, folder / "importances.csv"))
        return [*files, *draw(study, goals, importances, folder)]


def importance(study: Study, target: Target | None) -> dict[str, float]:
    """What share of the difference between good trials and all each key accounts for (Watanabe et al. 2023, PED-ANOVA).

    Empty where the trials are too few, or all alike.
    """
    try:
        return get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(), target=target)
    except (ValueError, RuntimeError, ZeroDivisionError):
        return {}


def write_trials(study: Study, goals: Goals, file: Path) -> Path:
    """One row a trial: its state, scores, how far constraints are violated, values, words and runs."""
    trials = counted_trials(study)
    keys = list(dict.fromkeys(key for one in trials for key in one.params))
    constraints = [str(one) for one in goals.constraints]
    with open(file, "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["trial", "state", *goals.names, *constraints, *keys, "reason", "fingerprints"])
        for one in trials:
            values = one.values if one.values else [""] * len(goals.names)
            violations = [one.constraints.get(text, "") for text in constraints]
            own = [one.params.get(key, "") for key in keys]
            told = [one.user_attrs.get(REASON, ""), " ".join(one.user_attrs.get(RUNS, []))]
            writer.writerow([one.number, one.state.name.lower(), *values, *violations, *own, *told])
    return file


def write_importances(importances: dict[str, dict[str, float]], file: Path) -> Path:
    """One row a key, one column an objective."""
    keys = list(dict.fromkeys(key for found in importances.values() for key in found))
    with open(file, "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["key", *importances])
        writer.writerows([key, *(found.get(key, "") for found in importances.values())] for key in keys)
    return file


def draw(study: Study, goals: Goals, importances: dict[str, dict[str, float]], folder: Path) -> list[Path]:
    """`report.html` with every picture to be moved about in, and each of them as a PNG."""
    parts: list[str] = []
    files: list[Path] = []
    for name, plot, options in pictures(study, goals, importances):
        try:
            figure = getattr(interactive, plot)(study, **options)
            axes = drawn(partial(getattr(still, plot), study, **options))
        except (ValueError, RuntimeError, ZeroDivisionError, IndexError):
            continue  # too few trials for this one
        script = not parts  # the page carries the library once
        parts.append(f"<h2>{name.replace('_', ' ')}</h2>" + figure.to_html(full_html=False, include_plotlyjs=script))
        files.append(folder / f"{name.replace('/', '_')}.png")
        save_still(axes, files[-1])
    if parts:
        files.insert(0, folder / "report.html")
        title = f"{study.study_name}: {', '.join(goals.names)}"
        files[0].write_text(PAGE.format(title=title, body="\n".join(parts)))
    return files


def pictures(
    study: Study, goals: Goals, importances: dict[str, dict[str, float]]
) -> list[tuple[str, str, dict[str, Any]]]:
    """Name, Optuna's function and its options of each picture."""
    found: list[tuple[str, str, dict[str, Any]]] = []
    several = len(goals.names) > 1
    if several and len(goals.names) <= 3:
        found.append(("pareto_front", "plot_pareto_front", {"target_names": list(goals.names)}))
    for i, name in enumerate(goals.names):
        options: dict[str, Any] = {"target_name": name} | ({"target": _value(i)} if several else {})
        suffix = f"_{name}" if several else ""
        keys = list(importances[name]) or keys_of_all(study)
        loss = {"target": losses(goals)[i], "target_name": name, "evaluator": PedAnovaImportanceEvaluator()}
        found += [
            (f"history{suffix}", "plot_optimization_history", options),
            (f"importances{suffix}", "plot_param_importances", loss),
            (f"slice{suffix}", "plot_slice", options),
            (f"contour{suffix}", "plot_contour", options | {"params": keys[:CONTOUR_KEYS]}),
            (f"parallel_coordinates{suffix}", "plot_parallel_coordinate", options | {"params": keys}),
        ]
    return found


def keys_of_all(study: Study) -> list[str]:
    """Searched keys that every finished trial has."""
    trials: Sequence[FrozenTrial] = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [key for key in (trials[0].params if trials else ()) if all(key in one.params for one in trials)]


def save_still(axes: Any, file: Path) -> None:
    """Write what Optuna drew with matplotlib as a PNG, and let it go."""
    first = axes.flat[0] if hasattr(axes, "flat") else axes
    rows, columns = axes.shape if getattr(axes, "ndim", 0) == 2 else (1, getattr(axes, "size", 1))
    first.figure.set_size_inches(max(8, 4 * columns), max(5, 4 * rows))
    outline_ticks(first.figure)
    save(first.figure, file, tight=True)
    close(first.figure)


def losses(goals: Goals) -> list[Target | None]:
    """What PED-ANOVA takes for each objective: less is better; None where the study's own direction says it."""
    if len(goals.names) == 1:
        return [None]
    return [_value(i, -sign) for i, sign in enumerate(goals.signs)]


def _value(i: int, sign: int = 1) -> Target:
    """The i-th value of a trial, times `sign`."""
    return lambda trial: sign * float(trial.values[i])
