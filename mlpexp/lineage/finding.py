"""What a chapter of the lineage found, and where it goes: terminal, figure and CSV files, one MLflow run.

Flow: chapters → **finding** → outputs/lineage/<chapter>/, tracking.
"""

import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mlpexp.config import Tracking, digest
from mlpexp.figures import Figure, pdf, png
from mlpexp.journal import write_atomically
from mlpexp.numerics import commit
from mlpexp.projection import PARAMETER_CHARACTERS, Point, Projection

EXPERIMENT = "lineage"


@dataclass(frozen=True)
class Finding:
    """`lines` for the reader, `params` and `metrics` for MLflow, a figure, and the tables behind it by their names."""

    chapter: str
    lines: list[str]
    params: dict[str, object]
    metrics: dict[str, float]
    figure: Figure
    tables: dict[str, pd.DataFrame]

    @property
    def fingerprint(self) -> str:
        """What was asked and what came out: the same again is the same run."""
        return digest({"lineage": self.chapter, "params": self.params, "metrics": _finite(self.metrics)})[:16]


def write(finding: Finding, outputs: Path) -> list[Path]:
    """The figure as PNG and PDF and each table as CSV; their paths. Files appear whole."""
    folder = outputs / "lineage" / finding.chapter
    folder.mkdir(parents=True, exist_ok=True)
    contents = {"figure.png": png(finding.figure), "figure.pdf": pdf(finding.figure)}
    for name, table in finding.tables.items():
        contents[f"{name}.csv"] = table.to_csv(index=False, float_format="%.12g", lineterminator="\n").encode()
    for name, content in contents.items():
        write_atomically(folder / name, content)
    return [folder / name for name in contents]


def track(finding: Finding, files: list[Path], began: float, uri: str | None, outputs: Path) -> str | None:
    """One run of the experiment `lineage`; its id, or None, with a warning, where the store is away."""
    from mlpexp.tracking import Store

    store = Store(Tracking(uri=uri, experiment=EXPERIMENT), outputs)
    try:
        return store.log(project(finding, began), files)
    except RuntimeError as error:
        print(f"mlpexp: MLflow was not reached ({error}); the files are there all the same", file=sys.stderr)
        return None


def project(finding: Finding, began: float) -> Projection:
    """The finding as MLflow shows it; `began` in seconds since 1970."""
    start, end = int(began * 1000), int(time.time() * 1000)
    tags = {
        "mlpexp.fingerprint": finding.fingerprint,
        "mlpexp.lineage": finding.chapter,
        "mlflow.source.name": "mlpexp",
        "mlflow.source.type": "LOCAL",
        "mlflow.note.content": "```\n" + "\n".join(finding.lines) + "\n```\n",
    }
    if (known := commit()) is not None:
        tags |= {"mlpexp.commit": known, "mlflow.source.git.commit": known.rstrip("+")}
    return Projection(
        name=finding.chapter,
        start=start,
        end=end,
        tags=tags,
        params={key: str(value)[:PARAMETER_CHARACTERS] for key, value in finding.params.items()},
        points=[Point(name, value, end, 0) for name, value in _finite(finding.metrics).items()],
        dataset={},
    )


def _finite(metrics: dict[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
