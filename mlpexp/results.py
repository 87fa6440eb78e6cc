"""Recorded runs, read back: config, scores, the full record, the trained network.

Flow: run folder, run record → **results** → tracking, score_tables, figures, notebooks.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from mlpexp import yaml_text
from mlpexp.activation_schema import label, names_in
from mlpexp.config import Config, Measurements, absolute_outputs, validate
from mlpexp.record_files import AT_START, VERDICT
from mlpexp.records import Array, signal_ratio
from mlpexp.refusals import ConfigError
from mlpexp.run_record import Record

if TYPE_CHECKING:
    from mlpexp.modules import Perceptron


@dataclass(frozen=True)
class Result:
    """One finished run, read from its folder when asked.

    `status` is finished, diverged, stopped_early or reached_loss; a diverged run has no scores.

    >>> from mlpexp import compose, run
    >>> result, = run(compose(["training.epochs=1", "tracking=none"]), quiet=True)
    >>> result.name, result.status, int(result.record.steps[-1])
    ('relu-d4-w64-he-adam-s0', 'finished', 17)
    >>> result.network()
    Perceptron(...)
    """

    folder: Path

    def __repr__(self) -> str:
        return f"Result({self.fingerprint}, {self.status}, {self.name})"

    @cached_property
    def facts(self) -> dict[str, Any]:
        """All of result.json."""
        file = self.folder / "result.json"
        try:
            content: dict[str, Any] = json.loads(file.read_text())
        except ValueError as error:
            raise ConfigError(
                [f"{file} is damaged ({error}); remove its folder, and the run is trained again"]
            ) from None
        return content

    @cached_property
    def config(self) -> Config:
        """The run's config; tracking, executor and outputs are as it was asked for, else at their defaults."""
        return validate(yaml_text.load((self.folder / "config.yaml").read_text()))

    def asked_for(self, config: Config) -> Self:
        """The same run, with the config that asked for it: saves reading it again from the folder."""
        self.__dict__["config"] = config
        return self

    def exists(self) -> bool:
        """Whether the run is recorded."""
        return (self.folder / "result.json").exists()

    @property
    def fingerprint(self) -> str:
        """The run's name among all runs: sixteen hexadecimal digits."""
        return self.folder.name

    @property
    def status(self) -> str:
        """`finished`, `diverged`, `stopped_early` or `reached_loss`."""
        return str(self.facts["status"])

    @property
    def next_step(self) -> int:
        """Updates after which its state was kept: a run that goes on from it begins with this step."""
        last: int = self.facts["last_step"]  # of one that left, the last row before its checkpoint
        return last + 1 if self.has_left else last

    @property
    def has_left(self) -> bool:
        """Whether it did not come to its end: it was interrupted, or a search gave it up."""
        return self.status in ("interrupted", "pruned")

    @property
    def spent(self) -> dict[str, float]:
        """What training took: `updates`, `epochs`, `examples` and `flops`; empty in records older than that."""
        return dict(self.facts.get("spent", {}))

    @property
    def warnings(self) -> list[str]:
        """What is odd about the run, a line each."""
        return list(self.facts.get("warnings", []))

    @property
    def measurements(self) -> Measurements:
        """What the record covers."""
        return Measurements.model_validate(self.facts["measurements"])

    @property
    def scores(self) -> dict[str, float]:
        """`{"accuracy/test": …}` of the restored weights; NaN where a loss is not finite."""
        return {name: float("nan") if value is None else value for name, value in self.facts["scores"].items()}

    @property
    def name(self) -> str:
        """What tells the run from others at a glance: `tanh-d16-w64-glorot-adam-s3`."""
        return f"{self.condition}-s{self.config.seed}"

    @property
    def condition(self) -> str:
        """The name without its seed."""
        return condition_of(self.config)

    @cached_property
    def record(self) -> Record:
        """Every step and layer."""
        return Record(self.folder / "record.parquet")

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Versions, platform and commit."""
        content: dict[str, Any] = json.loads((self.folder / "environment.json").read_text())
        return content

    def whole(self) -> Self:
        """This run with its facts, environment and record read: for whoever needs most of them."""
        _ = self.facts, self.environment, self.record.whole()
        return self

    @cached_property
    def ends(self) -> dict[str, Array]:
        """What a verdict needs, [L]: ‖δ_l‖ where it was first measured, dead and killed units where last, as recorded.

        From result.json where it is there, so that a table of thousands reads no records. What is not finite is NaN:
        JSON has no infinity.
        """
        if (kept := self.facts.get("ends")) is not None:
            return {name: np.array(row, dtype=float) for name, row in kept.items()}  # None is NaN
        measured = {name: self.record.measured(name)[1] for name in VERDICT if name in self.record.quantities}
        rows = {name: values[0 if name in AT_START else -1] for name, values in measured.items() if len(values)}
        return {name: np.where(np.isfinite(row), row, np.nan).astype(float) for name, row in rows.items()}

    @property
    def numerics(self) -> dict[str, str]:
        """On what the run was trained; bits are compared only where this is equal."""
        return dict(self.facts["numerics"])

    @property
    def signal(self) -> float | None:
        """δ of layer 1 over δ of layer L at the start; None for depth 1, or where it was not measured."""
        if "delta_norm" not in self.ends or self.config.model.depth == 1:
            return None
        return signal_ratio(self.ends["delta_norm"])

    @property
    def theory(self) -> dict[str, list[float]] | None:
        """What theory predicts before training, a number a layer (mlpexp/predictions.py); None where nothing."""
        found: dict[str, Any] = self.facts.get("theory", {"undefined": "records older than theory have none"})
        return None if "undefined" in found else found

    def plot(self) -> Any:
        """A matplotlib figure of the run: losses over steps, and ‖δ_l‖ over depth before and after training.

        A notebook shows it where it is a cell's last value; `figure.savefig(FILE)` keeps it.
        """
        # by name: training stands on this module, and has never heard of matplotlib
        return import_module("mlpexp.figures").picture_of_run(self)

    def command(self) -> str:
        """The command line that trains this run alone, into the folder that it lies in."""
        usual, outputs = os.environ.get("MLPEXP_OUTPUTS", "outputs"), str(self.folder.parent.parent)
        place = usual if absolute_outputs(usual) == outputs else outputs
        return self.config.model_copy(update={"outputs": place}).command()

    def network(self, which: str | None = None) -> "Perceptron":
        """The trained network as an ordinary torch.nn.Module that takes raw inputs [B, q].

        `which` is `best` or `final`; as the run's `training.restore` says unless given.
        """
        from mlpexp.modules import module

        return module(self.folder, self.config, self.facts, which or self.config.training.restore)


def condition_of(config: Config) -> str:
    """What tells a point from others at a glance: `tanh-d16-w64-glorot-adam`."""
    model = config.model
    activation = "+".join(label(name, model.activation_sources) for name, _ in groupby(names_in(model.activation)))
    width = "w" + "-".join(str(units) for units, _ in groupby(model.widths))
    shape = [activation, f"d{model.depth}", width] if model.depth > 1 else ["linear", "d1"]
    extras = [f"bn_{model.batch_norm}"] * (model.batch_norm is not None) + ["skip"] * model.skip
    return "-".join([*shape, *extras, config.initialisation.name, config.optimizer.name])


def recorded(outputs: str | Path) -> Iterator[Result]:
    """All finished runs below an outputs folder."""
    runs = Path(outputs) / "runs"
    for folder in sorted(runs.glob("*")) if runs.is_dir() else ():
        if not folder.name.startswith(".") and (folder / "result.json").exists():
            yield Result(folder)


def find(outputs: str | Path, fingerprint: str) -> Result | None:
    """The finished run of that fingerprint."""
    folder = Path(outputs) / "runs" / fingerprint
    return result if (result := Result(folder)).exists() else None
