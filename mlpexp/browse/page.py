"""`mlpexp show RUN`: one run whole, at 80 columns.

Flow: run_index → choosing → run folder → **page** → standard output.
"""

import argparse
import json
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from textwrap import wrap

import numpy as np

from mlpexp.browse.choosing import chosen
from mlpexp.browse.selection import memberships, runs_in
from mlpexp.browse.text_pictures import profile_lines, sparkline
from mlpexp.config import Config
from mlpexp.gradient_verdict import gradient_verdict
from mlpexp.own_measurement_text import Told, told_in
from mlpexp.records import PARTS, Array, metric
from mlpexp.refusals import ConfigError
from mlpexp.results import Result
from mlpexp.run_index import rows
from mlpexp.verdicts import power_of_ten

CURVE = 36
"""Letters of a curve: beside its name and two numbers of ten letters it fits into 80 columns."""


def command(options: argparse.Namespace) -> int:
    """Print the page; raises ConfigError where no run, or more than one, is meant."""
    outputs = Path(options.outputs).expanduser().absolute()
    run = chosen(options.run, rows(outputs), outputs)
    width = min(120, shutil.get_terminal_size((80, 24)).columns)
    print("\n".join(page(run, outputs, width)))
    if options.html:
        print(f"gradient flow: {write_flow(run, Path(options.html))}")
    return 0


def write_flow(run: Result, file: Path) -> Path:
    """The page of a run's gradient flow; raises ConfigError where none was measured."""
    from mlpexp import gradient_flow

    flow = gradient_flow.flow_of([run])
    if flow is None:
        raise ConfigError([f"{run.fingerprint} measured neither δ nor gradients; train it with measurements=basic"])
    file.write_text(gradient_flow.page(run.name, {run.fingerprint: flow}))
    return file


def page(run: Result, outputs: Path, width: int = 80) -> Iterator[str]:
    """The lines of a run's page."""
    yield f"{run.fingerprint}  {run.name}"
    told = [ending(run), str(gradient_verdict([run])), *(f"warning: {line}" for line in run.warnings)]
    for line in told:
        yield from wrap(line, width, subsequent_indent="  ", break_on_hyphens=False)
    yield from _block("differs from the defaults in", dict(differences(run.config)))
    yield from _scores(run)
    yield from _curves(run)
    yield from _profile(run, width)
    for name, file in run.measurements.own.items():
        yield from _own(run, name, told_in(run.measurements.sources[file]), width)
    yield from _block("belongs to", dict(belongings(run.fingerprint, outputs)))
    yield ""
    yield f"files in {run.folder}"
    yield from (f"  {file.stat().st_size:>9,}  {file.name}" for file in files(run))
    yield f"again: {run.command()}"


def ending(run: Result) -> str:
    """`finished after 17 updates (1 epoch, 1,077 examples, 4·10⁶ FLOPs) in 0.03 s, 2026-11-25 06:38`."""
    status = run.status.replace("_", " ")
    if run.status == "diverged":
        status += f" at step {run.facts['diverged_at_step']}"
    spent = run.spent
    told = [f"{spent[unit]:,g} {unit}" for unit in ("epochs", "examples") if unit in spent]
    told += [f"{power_of_ten(spent['flops'])} FLOPs"] if "flops" in spent else []
    when = datetime.fromtimestamp(run.facts["started"]).strftime("%Y-%m-%d %H:%M")
    took = f" ({', '.join(told)})" if told else ""
    return f"{status} after {spent.get('updates', run.facts['last_step']):,} updates{took}, {when}"


def differences(config: Config) -> Iterator[tuple[str, str]]:
    """The keys of a run that are not as `mlpexp train` alone would have them, with that default in brackets."""
    from mlpexp.composition import compose

    usual, own = compose().flat(), config.flat()
    for key, value in own.items():
        if key not in usual:
            if value is not None:
                yield key, _text(value)
        elif value != usual[key]:
            yield key, f"{_text(value)}  ({_text(usual[key])})"


def _text(value: object) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _block(title: str, entries: dict[str, str]) -> Iterator[str]:
    if entries:
        wide = max(map(len, entries))
        yield from ("", title, *(f"  {key:{wide}}  {value}" for key, value in entries.items()))


def _scores(run: Result) -> Iterator[str]:
    """A row a part, a column a kind; the gap is train − test."""
    kinds = [kind for kind in ("accuracy", "loss") if any(name.startswith(f"{kind}/") for name in run.scores)]
    if not kinds:
        return
    yield from ("", f"{'scores':10}" + "".join(f"{kind:>12}" for kind in kinds))
    for part in PARTS:
        yield f"{part:10}" + "".join(_number(run.scores.get(metric(kind, part))) for kind in kinds)
    yield f"{'gap':10}" + "".join(_number(run.scores.get(metric("gap", kind))) for kind in kinds)


def _number(value: float | None) -> str:
    return f"{'–' if value is None else f'{value:.4g}':>12}"


def _curves(run: Result) -> Iterator[str]:
    """Each recorded curve in a line, from its first to its last value."""
    yield from ("", f"{'curves':20}{'first':>10}  {'':{CURVE}}  last")
    for name in run.record.metrics:
        values = run.record[name]
        recorded = values[~np.isnan(values)]
        if len(recorded):
            yield f"{name:20}{recorded[0]:>10.4g}  {sparkline(recorded, CURVE):{CURVE}}  {recorded[-1]:.4g}"


def _profile(run: Result, width: int) -> Iterator[str]:
    found = profiles(run)
    if found:
        yield from ("", "backpropagated signal ‖δ‖ by layer (log axis)", *profile_lines(found, width))


def _own(run: Result, name: str, told: Told, width: int) -> Iterator[str]:
    """A quantity of the user's own: what it is, and of each layer its course."""
    yield from ("", *wrap(f"{name} [{told.unit}]: {told.description}", width, subsequent_indent="  "))
    if name in run.record.quantities:
        _, values = run.record.measured(name)
        for layer, column in enumerate(values.T, start=1):
            finite = column[np.isfinite(column)]
            if len(finite):
                yield f"{f'layer {layer}':20}{finite[0]:>10.4g}  {sparkline(finite, CURVE):{CURVE}}  {finite[-1]:.4g}"


def profiles(run: Result) -> dict[str, Array]:
    """‖δ_l‖ [L] at the first and the last measured step; empty where it was not measured."""
    if "delta_norm" not in run.record.quantities:
        return {}
    steps, values = run.record.measured("delta_norm")
    moments = {"before training": values[:1], f"at step {steps[-1] if len(steps) else 0}": values[1:][-1:]}
    return {name: rows[0] for name, rows in moments.items() if len(rows)}


def belongings(fingerprint: str, outputs: Path) -> Iterator[tuple[str, str]]:
    """The sweeps and studies that this run is part of; of a study its verdict, too."""
    for kind in ("sweep", "study"):
        for name, file in memberships(outputs, kind).items():
            runs = runs_in(file)
            if fingerprint in runs:
                claims = file.parent / "claims.json"
                verdict = (
                    f", {json.loads(claims.read_text())['verdict']}" if kind == "study" and claims.exists() else ""
                )
                yield f"{kind} {name}", f"of {len(runs)} runs{verdict}"


def files(run: Result) -> list[Path]:
    """What its folder holds for people."""
    return [file for file in sorted(run.folder.iterdir()) if not file.name.startswith(".")]
