"""What is handed to a process that trains: one cohort, as plain data.

Flow: run → **task** → execution → cohort_training.
"""

import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlpexp.data import Parts


@dataclass(frozen=True)
class Task:
    """One cohort to train: run configs and their fingerprints, and where the journal and the runs go.

    `bases` are folders of the runs that these go on from, all of them at the pause before `step`; None for a new run.
    `warnings` are what planning found odd about each run. `parts` are the data where they are small; where it trains
    they are loaded otherwise.
    A run whose lease has another content by the time it ends belongs to another process, and is not written.
    Where `watched` names an evaluation, the cohort tells it after every epoch, and its lanes leave when asked to
    (signals.py): such a run is kept as an interrupted one, to go on from.
    """

    configs: list[dict[str, Any]]
    fingerprints: list[str]
    data_digest: str
    outputs: str
    bases: list[str | None]
    step: int = 0
    leases: list[str] = field(default_factory=list)
    warnings: list[list[str]] = field(default_factory=list)
    watched: str | None = None
    parts: Parts | None = None
    number: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    @property
    def folder(self) -> Path:
        """The cohort's journal, named after its first run, and told apart from another attempt at it."""
        return Path(self.outputs) / "cohorts" / f"{self.fingerprints[0]}-{self.number}"
