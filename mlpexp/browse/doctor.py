"""`mlpexp doctor`: is all that a run stands on as it should be; a line for each thing, and what to do where it is not.

Flow: installed packages, outputs folder, machine → **doctor** → lines. Nothing is written.
"""

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from mlpexp.browse.leftovers import leftovers
from mlpexp.dashboard import starts_well
from mlpexp.leases import has_expired
from mlpexp.letters import folded
from mlpexp.numerics import ENVIRONMENT
from mlpexp.run_index import Row, rows

OK, OPTIONAL, WARNING, BROKEN = "ok", "optional", "warning", "broken"
LEAST_BYTES, FEW_BYTES = 200 << 20, 2 << 30
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
SELF_TEST = """
import json, torch
from mlpexp.kernel.arithmetic import require_stable_products
from mlpexp.numerics import of_this_process
torch.set_num_threads(1)
torch.set_flush_denormal(True)
require_stable_products()
print(json.dumps(of_this_process("cpu")))
"""


class Finding(NamedTuple):
    """One line: how it is, of what, what was found, and with a warning what to do."""

    state: str
    what: str
    found: str


def command(options: argparse.Namespace) -> int:
    """Print a line for each thing; 1 where something is broken."""
    outputs = Path(options.outputs).expanduser().absolute()
    states = []
    for finding in findings(outputs):
        print(folded(f"{finding.state:8}  {finding.what:14}  {finding.found}", " " * 26), flush=True)
        states.append(finding.state)
    return 1 if BROKEN in states else 0


def findings(outputs: Path) -> Iterator[Finding]:
    """Everything, in the order in which a run needs it."""
    recorded = rows(outputs)
    checks: list[Callable[[], Iterator[Finding]]] = [
        libraries,
        start_page,
        numerics_of_recorded(recorded),
        lambda: disk(outputs),
        lambda: records(recorded, outputs),
        lambda: tracking(outputs, recorded),
        lambda: remains(outputs),
        data_sets,
        browser,
    ]
    for check in checks:
        yield from check()


def libraries() -> Iterator[Finding]:
    """What pyproject.toml needs; extras are optional."""
    from packaging.requirements import Requirement

    wrong, count = [], 0
    for line in requires("mlpexp") or ():
        one = Requirement(line)
        if one.marker is not None and not one.marker.evaluate({"extra": ""}):
            continue
        count += 1
        try:
            there = version(one.name)
        except PackageNotFoundError:
            wrong.append(f"{one} is not installed")
            continue
        if not one.specifier.contains(there, prereleases=True):
            wrong.append(f"{one.name} {there} is not {one.specifier}")
    python = ".".join(map(str, sys.version_info[:3]))
    for line in wrong:
        yield Finding(BROKEN, "libraries", f"{line}: pip install '{line.split(' ')[0]}' again, as the README says")
    if not wrong:
        yield Finding(OK, "libraries", f"{count} as needed; Python {python}, torch {version('torch')}")
    for module, extra, use in (
        ("optuna_dashboard", "dashboard", "mlpexp ui --optuna"),
        ("psycopg2", "postgres", "PostgreSQL"),
    ):
        if find_spec(module) is None:
            yield Finding(OPTIONAL, "libraries", f"{use} needs: pip install 'mlpexp[{extra}]'")


def start_page() -> Iterator[Finding]:
    """Whether MLflow is told of dashboard_app.py: an installation keeps the entry points of the day it was made."""
    if not starts_well():
        text = "mlpexp was installed before its start page was there: pip install it again, as the README says"
        yield Finding(WARNING, "dashboard", text)


def numerics_of_recorded(recorded: list[Row]) -> Callable[[], Iterator[Finding]]:
    """Whether products here have stable bits, and how many recorded runs were trained on other numerics."""

    def check() -> Iterator[Finding]:
        from mlpexp.config import digest

        done = subprocess.run(
            [sys.executable, "-c", SELF_TEST], env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True
        )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            yield Finding(BROKEN, "numerics", f"{last}; install torch as .ci/constraints.txt pins it")
            return
        here = json.loads(done.stdout.splitlines()[-1])
        told = f"{here['processor']}, {here['blas']}, {here['instructions']}"
        yield Finding(OK, "numerics", f"{told}: misaligned products have the bits of aligned ones")
        known = [row for row in recorded if "numerics" in row]
        others = sum(row["numerics"] != digest(here)[:8] for row in known)
        if others:
            text = f"{others} of {len(known)} runs were trained on others: reused, but bits are not compared"
            yield Finding(OPTIONAL, "numerics", text)

    return check


def disk(outputs: Path) -> Iterator[Finding]:
    """Room, and whether the outputs folder can be written."""
    there = next(folder for folder in (outputs, *outputs.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    room = f"{free / 1e9:.1f} GB free for {outputs}"
    if not there.is_dir() or not os.access(there, os.W_OK):
        yield Finding(BROKEN, "outputs", f"{there} cannot be written; choose another: MLPEXP_OUTPUTS=FOLDER")
    elif free < LEAST_BYTES:
        yield Finding(BROKEN, "disk", f"{room}: runs stop at their last checkpoint; make room (mlpexp clean)")
    else:
        few = free < FEW_BYTES
        hint = ": little; make room (mlpexp clean --checkpoints)" if few else ""
        yield Finding(WARNING if few else OK, "disk", f"{room}{hint}")


def records(recorded: list[Row], outputs: Path) -> Iterator[Finding]:
    """Run folders that can be read, and those that cannot."""
    damaged = [row for row in recorded if row["status"] == "damaged"]
    for row in damaged:
        text = f"{row['folder']} is damaged ({row['problem']}): remove the folder, and the run trains again"
        yield Finding(BROKEN, "records", text)
    finished = [row for row in recorded if row not in damaged and Path(row["folder"]).parent.name == "runs"]
    yield Finding(OK, "records", f"{len(finished)} finished runs can be read")
    left = len(recorded) - len(damaged) - len(finished)
    if left:
        yield Finding(OK, "records", f"{left} interrupted or pruned runs wait: the same command goes on")


def tracking(outputs: Path, recorded: list[Row]) -> Iterator[Finding]:
    """Whether the tracking database answers, and knows the runs."""
    database = outputs / "mlflow.db"
    unseen = [r for r in recorded if r["status"] != "damaged" and Path(r["folder"]).parent.name == "runs"]
    unseen = [row for row in unseen if not (Path(row["folder"]) / ".shown").exists()]
    if not database.exists():
        yield Finding(OK, "tracking", f"no {database.name} yet; the first run with tracking=mlflow makes it")
    else:
        try:
            with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5)) as connection:
                (count,) = connection.execute("SELECT count(*) FROM runs").fetchone()
            yield Finding(OK, "tracking", f"{database} answers, {count} runs")
        except sqlite3.OperationalError as error:
            yield Finding(WARNING, "tracking", f"{database}: {error}; nothing is lost, mlpexp sync writes it later")
        except sqlite3.DatabaseError as error:
            text = f"{database}: {error}; move it away, and mlpexp sync makes it anew from the records"
            yield Finding(BROKEN, "tracking", text)
    if unseen:
        yield Finding(WARNING, "tracking", f"{len(unseen)} runs are not in MLflow: mlpexp sync shows them")


def remains(outputs: Path) -> Iterator[Finding]:
    """Leases of the living and of the dead, and other leftovers."""
    folder = outputs / "leases"
    files = [file for file in folder.iterdir() if not file.name.startswith(".")] if folder.is_dir() else []
    alive = sum(not has_expired(file) for file in files)
    yield Finding(OK, "leases", f"{alive} runs are being trained now")
    found = list(leftovers(outputs))
    for rule in dict.fromkeys(one.rule for one in found):
        count = sum(one.rule == rule for one in found)
        yield Finding(WARNING, "leftovers", f"{rule}: {count}; mlpexp clean removes them")


def data_sets() -> Iterator[Finding]:
    """Data sets that load now, and the commands that install the others."""
    from mlpexp.data.catalogue import catalogue_rows

    entries = catalogue_rows()
    yield Finding(OK, "data", f"{sum(one.installed for one in entries)} of {len(entries)} sources are installed")
    for one in entries:
        if not one.installed:
            yield Finding(OPTIONAL, "data", f"{one.name}: {one.install}")


def browser() -> Iterator[Finding]:
    """A Chromium for the tests of the dashboard."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found:
        yield Finding(OK, "browser", f"{found}, for the dashboard's tests")
    else:
        text = "no Chromium: the dashboard's tests are skipped; on Debian: apt-get install chromium"
        yield Finding(OPTIONAL, "browser", text)
