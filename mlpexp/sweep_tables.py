"""What a sweep found, as CSV files for whoever goes on with another tool.

Flow: results, tuning → **sweep_tables** → the sweep's folder.
"""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlpexp.gradient_verdict import gradient_verdict, verdict_numbers, verdict_word
from mlpexp.records import FACTOR, PARTS, SIGNAL, THEORY_FACTOR, metric
from mlpexp.results import Result
from mlpexp.tuning import Pick
from mlpexp.verdicts import Mean, labels, leading_score, mean, paired_difference, points, ranked, varying

SCORES = [metric(kind, part) for kind in ("accuracy", "loss") for part in PARTS] + ["gap/accuracy", "gap/loss"]


def write_points(file: Path, results: Sequence[Result], bootstrap: bool = False) -> None:
    """One row a point: the keys in which the points differ, means of all scores with their 95 % intervals, the
    difference to the best point paired by seed, how many runs ended how, and which runs those are.
    """
    groups = points(results)
    names, best = labels(groups), ranked(groups)[0]
    judged, _ = leading_score(results, "validation")
    keys, flats = varying(groups)
    difference = f"{judged}/difference_to_best"
    columns = [column for name in (*SCORES, difference) for column in (name, f"{name}/low", f"{name}/high")]
    with open(file, "w", newline="") as stream:
        writer = csv.writer(stream)
        signals = [SIGNAL, f"{SIGNAL}/low", f"{SIGNAL}/high", FACTOR, THEORY_FACTOR]
        writer.writerow(["point", "label", *keys, "runs", "diverged", *columns, "verdict", *signals, "fingerprints"])
        for point, runs in groups.items():
            means = [mean([run.scores[name] for run in runs if name in run.scores], bootstrap) for name in SCORES]
            against = paired_difference(runs, groups[best], judged, bootstrap)
            cells: list[object] = []
            for found in (*means, against):
                cells += ["", "", ""] if found is None else [_cell(v) for v in (found.value, found.low, found.high)]
            diverged = sum(run.status == "diverged" for run in runs)
            own = (flats[point].get(key) for key in keys)
            fingerprints = " ".join(run.fingerprint for run in runs)
            verdict = gradient_verdict(runs)
            numbers = verdict_numbers(verdict)
            passed = [number for name in (SIGNAL, FACTOR, THEORY_FACTOR) for number in _signal_cells(name, numbers)]
            row = [point, names[point], *own, len(runs), diverged, *cells, verdict_word(verdict), *passed, fingerprints]
            writer.writerow(row)


def write_tuning(file: Path, picks: Sequence[Pick]) -> None:
    """One row a candidate: its point, its values, its score on validation, and whether it was picked."""
    keys = list(picks[0].chosen)
    with open(file, "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["point", *keys, "score", "picked", "on_edge", "fingerprints"])
        for pick in picks:
            for candidate in pick.candidates:
                picked = candidate.choice == pick.chosen
                score = _cell(candidate.score) if math.isfinite(candidate.score) else "diverged"
                fingerprints = " ".join(run.fingerprint for run in candidate.runs)
                own = (candidate.choice[key] for key in keys)
                edge = picked and bool(pick.on_edge)
                writer.writerow([" ".join(pick.overrides), *own, score, picked, edge, fingerprints])


def _signal_cells(name: str, numbers: Mapping[str, Mean]) -> list[object]:
    """A number of a gradient verdict, with its interval where it has one."""
    count = 3 if name == SIGNAL else 1
    if name not in numbers:
        return [""] * count
    found = numbers[name]
    return [_cell(value) for value in (found.value, found.low, found.high)[:count]]


def _cell(value: float) -> object:
    """A number, or nothing where there is none."""
    return "" if math.isnan(value) else value
