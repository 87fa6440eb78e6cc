"""Scores and profiles in the terminal: a table of points, the signal of each layer, and where the record lies.

Flow: results → verdicts → **score_tables** → terminal.
"""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlpexp.addresses import address
from mlpexp.config import Config, absolute_outputs
from mlpexp.gradient_verdict import GradientVerdict, gradient_verdict, signal_profile, verdict_word
from mlpexp.letters import in_width, shown
from mlpexp.records import PARTS, Array, metric
from mlpexp.refusals import redact
from mlpexp.results import Result
from mlpexp.verdicts import (
    labels,
    leading_score,
    mean,
    paired_difference,
    points,
    power_of_ten,
    ranked,
    status_words,
    superscript,
    varying,
)

MOST_KEYS, LONG_NAME = 6, 10
"""With more keys than this a point is one column, its label; names as long as this are broken over lines."""

WIDE, NARROWER = 10_000, 8
"""Letters of a line that has room for any table; letters by which headlines may be broken."""

SCALE = "mean and 95 % interval over {} training seeds at a fixed split ({})"
COLOURS = ("cyan", "yellow", "magenta", "green", "blue", "red")


def show_scores(results: Sequence[Result], console: Console) -> None:
    """Mean and 95 % interval of scores: a row a part for one point, a row a point for several."""
    groups = points(results)
    console.print(_one_point(results) if len(groups) == 1 else _many_points(groups))
    _tell_scale(groups, console)


def show_points(results: Sequence[Result], console: Console, show_test: bool = False, bootstrap: bool = False) -> None:
    """Validation scores of each point, best first; test scores only where they were asked for."""
    groups = points(results)
    parts = PARTS if show_test else PARTS[:2]
    for shown_parts, words in ((parts, True), (parts, False), (parts[1:], False)):
        table = _ranked_points(groups, shown_parts, bootstrap, words)
        needed = console.measure(table, options=console.options.update(max_width=WIDE)).maximum
        if needed <= console.width + NARROWER:  # else words would be broken, letter by letter
            break
    console.print(table)
    _tell_scale(groups, console, bootstrap)
    if len(groups) > 1:
        console.print("Δ best: difference to the best point, paired by seed", style="dim", highlight=False)
    if any(isinstance(gradient_verdict(runs), GradientVerdict) for runs in groups.values()):
        console.print("δ: by what it is multiplied a layer before training, on its way back to layer 1", style="dim")
    if not show_test:
        console.print("test scores are kept for the end: --test shows them", style="dim", highlight=False)


def _tell_scale(groups: Mapping[str, Sequence[Result]], console: Console, bootstrap: bool = False) -> None:
    """Over how many seeds the intervals are, where there are any."""
    counts = sorted({len(runs) for runs in groups.values()})
    if any(not run.scores for runs in groups.values() for run in runs):
        console.print("diverged runs have no scores: means are over the others", style="dim", highlight=False)
    if counts[-1] > 1:
        seeds = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        how = "bootstrap" if bootstrap else "Student's t"
        console.print(SCALE.format(seeds, how), style="dim", highlight=False)


def _one_point(results: Sequence[Result]) -> Table:
    table = _table(f"{results[0].condition}, {status_words(results)}")
    kinds = [kind for kind in ("accuracy", "loss") if any(f"{kind}/train" in run.scores for run in results)]
    for kind in kinds:
        table.add_column(kind, justify="right")
    for part in PARTS:
        table.add_row(part, *(_mean_of(results, metric(kind, part)) for kind in kinds))
    table.add_row(shown("gap (train − test)"), *(_mean_of(results, metric("gap", kind)) for kind in kinds))
    return table


def _many_points(groups: Mapping[str, Sequence[Result]]) -> Table:
    """A row a point, as it comes."""
    everyone = [run for runs in groups.values() for run in runs]
    table, names = _table("point"), labels(groups)
    for part in PARTS:
        table.add_column(leading_score(everyone, part)[0].replace("/", "/\n"), justify="right", no_wrap=True)
    table.add_column("ended", overflow="fold")
    for point, runs in groups.items():
        cells = [_mean_of(runs, leading_score(everyone, part)[0]) for part in PARTS]
        table.add_row(names[point], *cells, status_words(runs))
    return table


def _ranked_points(
    groups: Mapping[str, Sequence[Result]], parts: Sequence[str], bootstrap: bool, words: bool = True
) -> Table:
    """A row a point, best first and all compared to it; a column for each key in which they differ.

    `words` stand beside the factors by which δ changes.
    """
    everyone, order = [run for runs in groups.values() for run in runs], ranked(groups)
    judged, _ = leading_score(everyone, "validation")
    keys, flats = varying(groups)
    names = {point: [_cell(flats[point].get(key)) for key in keys] for point in groups}
    if not 0 < len(keys) <= MOST_KEYS:
        names = {point: [label] for point, label in labels(groups).items()}
    table = _table(*([_headline(key) for key in keys] if 0 < len(keys) <= MOST_KEYS else ["point"]))
    for part in parts:
        table.add_column(leading_score(everyone, part)[0].replace("/", "/\n"), justify="right", no_wrap=True)
    table.add_column("Δ best", justify="right", no_wrap=True)
    verdicts = {point: gradient_verdict(runs) for point, runs in groups.items()}
    tells_signal = any(isinstance(verdict, GradientVerdict) for verdict in verdicts.values())
    if tells_signal:
        table.add_column("δ", overflow="fold")
    tells_ends = any(run.status != "finished" for run in everyone)
    if tells_ends:
        table.add_column("ended", overflow="fold")
    for point in order:
        runs = groups[point]
        against = paired_difference(runs, groups[order[0]], judged, bootstrap) if point != order[0] else None
        difference = "best" if point == order[0] else shown("–" if against is None else str(against))
        cells = [_mean_of(runs, leading_score(everyone, part)[0], bootstrap) for part in parts]
        told = [_signal_cell(verdicts[point], words)] if tells_signal else []
        table.add_row(*names[point], *cells, difference, *told, *([status_words(runs)] if tells_ends else []))
    return table


def _signal_cell(verdict: GradientVerdict | str, words: bool) -> str:
    """`×0.236 vanishing`: by what δ is multiplied a layer."""
    if isinstance(verdict, str):
        return shown(verdict_word(verdict) or "–")
    return shown(f"×{verdict.factor:#.2g}{f' {verdict.word}' if words else ''}")


def _headline(key: str) -> str:
    """What a key is called over its column, in short lines: `learning_` above `rate`."""
    group, _, leaf = key.rpartition(".")
    name = group if leaf == "name" else leaf
    return name if len(name) < LONG_NAME else name.replace("_", "_\n")


def _cell(value: object) -> str:
    return "–" if value is None else f"{value:g}" if isinstance(value, int | float) else str(value)


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, 2 if len(columns) == 1 else 1, 0, 0))
    for name in columns:
        table.add_column(name, overflow="fold", min_width=min(16, 4 * len(name)) if len(columns) == 1 else None)
    return table


def _mean_of(runs: Sequence[Result], name: str, bootstrap: bool = False) -> str:
    values = [run.scores[name] for run in runs if name in run.scores]
    return shown(str(mean(values, bootstrap)) if values else "–")


def show_profiles(results: Sequence[Result], console: Console) -> None:
    """‖δ_l‖ of each layer at the start, points side by side on one log axis, and a sentence for each."""
    groups = points(results)
    names = labels(groups)
    profiles = {point: signal_profile(runs) for point, runs in groups.items()}
    known = {point: profile for point, profile in profiles.items() if profile is not None and len(profile) > 1}
    if not known:
        return
    positive = np.concatenate([profile[profile > 0] for profile in known.values()])
    if not len(positive):
        return
    high = math.ceil(math.log10(positive.max()))
    low = min(high - 3, math.floor(math.log10(positive.min())))
    every = list(known.items())
    per_row = max(1, min(len(every), (console.width - 8) // 23))
    console.print(Text("backpropagated signal ‖δ‖ by layer, before training (log axis)", style="bold"))
    for start in range(0, len(every), per_row):
        row = every[start : start + per_row]
        width = max(10, min(40, (console.width - 8) // per_row - 10))
        table = Table(box=None, padding=(0, 1, 0, 0), show_footer=False)
        table.add_column("layer", justify="right", style="dim")
        for i, (point, _) in enumerate(row):
            table.add_column(Text(names[point], style=f"bold {COLOURS[(start + i) % len(COLOURS)]}"))
        depth = max(len(profile) for _, profile in row)
        for layer in range(depth):
            bars = [_bar(profile, layer, low, high, width, start + i) for i, (_, profile) in enumerate(row)]
            table.add_row(str(layer + 1), *bars)
        left, right = shown(f"10{superscript(low)}"), shown(f"10{superscript(high)}")
        axis = left.ljust(width - len(right)) + right
        table.add_row("", *[Text(axis, style="dim")] * len(row))
        console.print(table)
    for point in known:
        prefix = f"{names[point]}: " if len(groups) > 1 else ""
        told = in_width(f"{prefix}{gradient_verdict(groups[point])}", stream=console.file)
        console.print(told, highlight=False, soft_wrap=True)


def _bar(profile: Array, layer: int, low: int, high: int, width: int, colour: int) -> Text:
    """A bar on the log axis, and its value."""
    if layer >= len(profile):
        return Text("")
    share = (math.log10(profile[layer]) - low) / (high - low) if profile[layer] > 0 else 0.0
    length = int(np.clip(round(share * width), 0, width))
    bar = Text("█" * length + " " * (width - length), style=COLOURS[colour % len(COLOURS)])
    return bar + Text(shown(f" {power_of_ten(float(profile[layer]))}"), style="default")


def show_places(results: Sequence[Result], config: Config, console: Console, sweep: str | None = None) -> None:
    """Where the record lies, and the line that opens the dashboard, at the comparison of a sweep."""
    outputs = absolute_outputs(config.outputs)
    folders = f"{outputs}/runs/{results[0].fingerprint}" if len(results) == 1 else f"{outputs}/runs, a folder a run"
    for name, why in {name: why for run in results for name, why in run.measurements.left_out.items()}.items():
        line = in_width(f"not measured: {name}; {why}", stream=console.file)
        console.print(line, style="dim", highlight=False, soft_wrap=True)
    console.print(f"recorded in {folders}", style="dim", highlight=False, soft_wrap=True)
    if config.tracking.name == "mlflow":
        where = f" --outputs {config.outputs}" if config.outputs != os.environ.get("MLPEXP_OUTPUTS", "outputs") else ""
        if config.tracking.uri is None:
            line = f"mlpexp ui{f' --sweep {sweep}' if sweep else ''}{where}"
        else:
            search = f', search for tags."mlpexp.sweep" LIKE "%{sweep}%"' if sweep else ""
            line = f"{redact(config.tracking.uri)}{search}"
        told = "compare them in the dashboard" if sweep else "look at them in the dashboard"
        known = address(results, config.tracking, Path(outputs), sweep)
        console.print(f"{told}: {known or line}", style="dim", highlight=False, markup=False, soft_wrap=True)
