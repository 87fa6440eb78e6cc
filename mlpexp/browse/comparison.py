"""`mlpexp compare A B …`: runs side by side: what differs in config, then how they ended and what they scored.

Flow: run_index → choosing → run folders → **comparison** → standard output.
"""

import argparse
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from mlpexp.browse.choosing import chosen
from mlpexp.browse.text_pictures import sparkline
from mlpexp.records import metric
from mlpexp.refusals import ConfigError
from mlpexp.results import Result
from mlpexp.run_index import rows
from mlpexp.verdicts import power_of_ten

CURVE = 16

CELL = 16
"""Columns of a value and the room beside it."""


def command(options: argparse.Namespace) -> int:
    """Print the table; raises ConfigError for an unknown run, or for one run alone."""
    outputs = Path(options.outputs).expanduser().absolute()
    known = rows(outputs)
    runs = list({run.fingerprint: run for run in (chosen(word, known, outputs) for word in options.runs)}.values())
    if len(runs) < 2:
        raise ConfigError(["compare takes two runs or more; `mlpexp show RUN` tells one"])
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    told = list(lines(runs))
    width = min(160, shutil.get_terminal_size((80, 24)).columns)
    longest = max(len(name) for name, _ in told)
    table.add_column("", overflow="fold", min_width=min(longest, max(12, width - len(runs) * CELL)))
    for run in runs:
        table.add_column(run.fingerprint[:8], justify="right", overflow="fold")
    for name, cells in told:
        table.add_row(name, *cells)
    Console(width=width).print(table, highlight=False)
    return 0


def lines(runs: Sequence[Result]) -> Iterator[tuple[str, list[str]]]:
    """Rows of the table, (name, a cell for each run)."""
    flats = [run.config.flat() for run in runs]
    keys = dict.fromkeys(key for flat in flats for key in flat)
    for key in keys:
        if len({str(flat.get(key)) for flat in flats}) > 1:
            yield key, _cells([flat.get(key, "") for flat in flats])
    yield "", [""] * len(runs)
    yield "status", [run.status.replace("_", " ") for run in runs]
    for name in dict.fromkeys(name for run in runs for name in run.scores):
        yield name, [f"{run.scores[name]:.4g}" if name in run.scores else "–" for run in runs]
    yield "δ of layer 1 / L", ["–" if run.signal is None else power_of_ten(run.signal) for run in runs]
    yield "updates", [f"{run.spent.get('updates', run.facts['last_step']):,}" for run in runs]
    yield "numerics", _numerics(runs)
    yield f"{metric('loss', 'train')}, curve", [_curve(run) for run in runs]


def _numerics(runs: Sequence[Result]) -> list[str]:
    """Whether runs may be compared to the bit: as the first, or what is other."""
    first = runs[0].numerics
    found = []
    for run in runs:
        others = [key for key in {**first, **run.numerics} if first.get(key) != run.numerics.get(key)]
        found.append(f"other {', '.join(others)}" if others else "equal")
    return found


def _curve(run: Result) -> str:
    name = metric("loss", "train")
    if name not in run.record.metrics:
        return "–"
    values = run.record[name]
    return sparkline(values[~np.isnan(values)], CURVE)


def _cells(values: Sequence[object]) -> list[str]:
    """Numbers in six digits where these tell them apart, else in all."""
    short = [f"{value:.6g}" if isinstance(value, float) else value for value in values]
    return [_cell(value) for value in (short if len(set(map(str, short))) == len(set(map(str, values))) else values)]


def _cell(value: object) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
