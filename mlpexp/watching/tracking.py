"""The user's own MLflow run: log-spaced points while it trains, the whole record and a picture at its end.

Flow: quantities → **tracking** → MLflow. The second door to mlflow beside mlpexp/tracking.py, which brings recorded
runs to a store of ours, and sets MLflow up as it likes: here the store, its settings and the run are someone else's.
"""

import math
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from mlpexp.records import layer_metric, layer_name
from mlpexp.refusals import redact
from mlpexp.watching.buffer import Piece
from mlpexp.watching.layers import Layer

POINTS_A_DECADE = 32
"""So many steps of a decade are drawn in MLflow; every step is in the record."""
MOST_METRICS = 1000
"""A request takes no more."""


class RunLog:
    """One run of MLflow. Where its store is away, what is measured stays, and it is said once."""

    def __init__(self, run_id: str, prefix: str) -> None:
        import mlflow  # the door; whoever logs nowhere does without

        self.client = mlflow.MlflowClient(mlflow.get_tracking_uri())
        self.run_id, self.prefix = run_id, prefix
        self.next_step = 0
        self.failed: str | None = None
        self.client.get_run(run_id)

    @classmethod
    def of(cls, run_id: str | None, prefix: str) -> Self | None:
        """The named run, or the active one; None where there is none. Raises ValueError for a run that is not there."""
        if run_id is None:
            if "mlflow" not in sys.modules:  # nobody has begun a run
                return None
            import mlflow

            active = mlflow.active_run()
            return None if active is None else cls(active.info.run_id, prefix)
        try:
            return cls(run_id, prefix)
        except Exception as error:
            raise ValueError(f"watch: run_id={run_id!r} cannot be read: {redact(str(error))}") from None

    def describe(self, layers: Sequence[Layer]) -> None:
        """Which module each layer is, as a tag: parameters are the user's."""
        from mlflow.entities import RunTag

        tags = [
            RunTag(f"{self.prefix}{layer_name(one.number, len(layers))}", f"{one.name} ({one.kind})") for one in layers
        ]
        self._try(self.client.log_batch, self.run_id, (), (), tags)

    def log(self, piece: Piece, depth: int) -> None:
        """The steps of a piece that are due on a log axis; what is not finite is no point."""
        from mlflow.entities import Metric

        steps, found = piece
        rows = [row for row, step in enumerate(steps) if self._is_shown(int(step))]
        now = int(time.time() * 1000)
        metrics = [
            Metric(f"{self.prefix}{layer_metric(name, layer + 1, depth)}", float(value), now, int(steps[row]))
            for name, values in found.items()
            if values.ndim == 2
            for row in rows
            for layer, value in enumerate(values[row])
            if math.isfinite(value)
        ]
        for start in range(0, len(metrics), MOST_METRICS):
            self._try(self.client.log_batch, self.run_id, metrics[start : start + MOST_METRICS])

    def keep(self, file: Path) -> None:
        """A file among the run's artifacts."""
        self._try(self.client.log_artifact, self.run_id, str(file), self.prefix.rstrip("/") or None)

    def warn(self) -> None:
        """Say what could not be logged."""
        if self.failed is not None:
            warnings.warn(f"watch: not all of it is in MLflow ({self.failed}); table() has it", stacklevel=4)

    def _is_shown(self, step: int) -> bool:
        if step < self.next_step:
            return False
        self.next_step = max(step + 1, math.ceil(step * 10 ** (1 / POINTS_A_DECADE)))
        return True

    def _try(self, call: Callable[..., object], *words: object) -> None:
        """A store that is away stops nobody's training."""
        try:
            call(*words)
        except Exception as error:
            self.failed = redact(str(error)).partition("\n")[0]
