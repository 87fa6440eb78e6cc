"""Small runs that several test files look at: trained in this process, and afterwards taken from the outputs folder."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from forks import AT_START, forked

from mlpexp import composition
from mlpexp.config import Config
from mlpexp.results import Result
from mlpexp.runner import run

SMALL = ("tracking=none", "executor=serial", "model.depth=2", "model.width=8", "training.epochs=2")
"""Digits, 2 × 17 updates: a few hundredths of a second."""

GRID = (
    "tracking=none", "executor=serial", "training.epochs=1", "model.width=4", "model.depth=1,3",
    "model.activation=tanh,relu", "replicates=2",
)  # fmt: skip
"""A sweep of four points of two seeds."""


def compose(*overrides: str) -> Config:
    """mlpexp.compose, which takes a tenth of a second, once for each list of overrides and outputs folder."""
    return _composed(overrides, os.environ["MLPEXP_OUTPUTS"])  # missing while modules are loaded: compose in tests


@cache
def _composed(overrides: tuple[str, ...], outputs: str) -> Config:
    return composition.compose(overrides)


SILENT = (
    "model.depth=60",
    "model.width=4",
    "model.activation=sigmoid",
    "initialisation=normal",
    "initialisation.sigma_w=0.01",
)
"""Sixty layers through which no signal comes back that float32 could hold."""


def composed(*overrides: str) -> Config:
    """A small point, as the command line would compose it."""
    return compose(*SMALL, *overrides)


def trained(*overrides: str) -> list[Result]:
    """The runs of a small point."""
    return run(composed(*overrides), quiet=True)


def everything(result: Result) -> dict[str, bytes]:
    """Every recorded number of a run and both its weights, as bytes."""
    record = result.record
    found = {name: record[name].tobytes() for name in (*record.columns, *record.distributions)}
    found |= {f"edges of {name}": one.edges.tobytes() for name, one in record.distributions.items()}
    found |= {name: (result.folder / f"{name}.safetensors").read_bytes() for name in ("best", "final")}
    return found | {"end": repr([result.facts[key] for key in ("status", "last_step", "best_step", "scores")]).encode()}


def command(*words: str, cwd: Path, timeout: float = 60, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python -m mlpexp WORDS` in a folder, with its output piped; paths are below that folder unless given."""
    inherited = {key: value for key, value in os.environ.items() if key not in ("MLPEXP_OUTPUTS", "COLUMNS")}
    if not any(key.startswith(AT_START) for key in environment):
        return forked(list(words), cwd, inherited | environment, timeout)
    return subprocess.run(
        [sys.executable, "-m", "mlpexp", *words],
        cwd=cwd,
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def files_below(folder: Path) -> list[str]:
    """All files and folders below a folder, hidden ones too."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
