"""Recorded runs, read back: scores, the full record, the trained network.

Flow: run folder → **results** → tracking, display, figures, notebooks.
"""

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from mlpexp import yaml_text
from mlpexp.activation_schema import label, names_in
from mlpexp.config import Config, Measurements, absolute_outputs, validate
from mlpexp.record_files import AT_START, DISTRIBUTIONS, VERDICT, Distribution, read_distributions
from mlpexp.records import Array, layer_of, signal_ratio
from mlpexp.refusals import ConfigError

if TYPE_CHECKING:
    import pandas as pd

    from mlpexp.modules import Perceptron


class Record:
    """Every step and layer of one run. `record["delta_norm"]` is [T, L]; `record["loss/train"]` is [T], NaN between.

    What has many numbers a layer has rows for the steps alone at which it was measured, `measured(name)` tells which:
    `record["activation_histogram"]` is [t, L, bins], with `edges`; `record["jacobian_singular_values"]` is [t, K].

    >>> from mlpexp import compose, run
    >>> result, = run(compose(["training.epochs=1", "tracking=none"]), quiet=True)
    >>> result.record["delta_norm"].shape, result.record["loss/batch"].shape
    ((18, 4), (18,))
    >>> list(result.record.table().columns)
    ['step', 'name', 'layer', 'value']
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._read: dict[str, NDArray[Any]] = {}

    @cached_property
    def columns(self) -> list[str]:
        """Names of all columns: `step`, metrics of the run, and `quantity/layer_01` …"""
        import pyarrow.parquet as pq

        return list(pq.read_schema(self.file).names)

    def _columns(self, names: list[str]) -> list[NDArray[Any]]:
        """The named columns; only what is asked for is read."""
        import pyarrow.parquet as pq

        missing = [name for name in names if name not in self._read]
        if missing:
            with pq.ParquetFile(self.file) as file:  # a file of some kilobytes: threads and a data set cost more
                table = file.read(missing, use_threads=False)
            self._read |= {name: table.column(name).to_numpy() for name in missing}
        return [self._read[name] for name in names]

    @property
    def steps(self) -> Array:
        """Updates made before each row, [T]."""
        return self._columns(["step"])[0]

    @cached_property
    def layers(self) -> dict[str, list[str]]:
        """Quantity → its columns, a layer each."""
        found: dict[str, list[str]] = {}
        for column in self.columns:
            if place := layer_of(column):
                found.setdefault(place[0], []).append(column)
        return found

    @property
    def quantities(self) -> list[str]:
        """Names of what was measured per layer, one number each."""
        return list(self.layers)

    @property
    def metrics(self) -> list[str]:
        """Names of what was recorded per run."""
        return [name for name in self.columns if name != "step" and not layer_of(name)]

    @cached_property
    def distributions(self) -> dict[str, Distribution]:
        """Histograms and spectra by name."""
        return read_distributions(self.file.with_name(DISTRIBUTIONS))

    def __getitem__(self, name: str) -> Array:
        if name in self._read or name in self.columns:
            return self._columns([name])[0]
        if name in self.layers:
            return np.stack(self._columns(self.layers[name]), axis=1)
        if name in self.distributions:
            return self.distributions[name].values
        known = [*self.metrics, *self.quantities, *self.distributions]
        raise KeyError(f"{name} is not in this record; it has {', '.join(known)}")

    def edges(self, histogram: str) -> Array:
        """Edges of the bins of a histogram's layers at the steps at which it was measured, [t, L, bins + 1]."""
        return self.distributions[histogram].edges

    @property
    def bytes_read(self) -> int:
        """What this record takes in memory so far."""
        known = self.__dict__.get("distributions", {}).values()
        arrays = [*self._read.values(), *(one for d in known for one in (d.steps, d.values, d.edges))]
        return sum(array.nbytes for array in arrays)

    def whole(self) -> Self:
        """This record with all columns read at once: for whoever needs most of them."""
        self._columns(self.columns)
        return self

    def measured(self, quantity: str) -> tuple[NDArray[Any], Array]:
        """Steps [t] at which a quantity was measured, and its values there, [t, L], [t], [t, L, bins] or [t, K]."""
        if quantity in self.distributions:
            found = self.distributions[quantity]
            return found.steps, found.values
        self._columns(["step", *self.layers.get(quantity, [])])  # the file is opened once for both
        values = self[quantity]
        rows = ~np.isnan(values.reshape(len(values), -1)).all(axis=1)
        return self.steps[rows], values[rows]

    def noise_scale(self, first: int = 0, past: int | None = None) -> float:
        """Simple noise scale trΣ/‖G‖² of the whole network over the steps from `first` to before `past`, in examples.

        Both are summed over layers and averaged over steps before one is divided by the other (McCandlish et al. 2018).
        NaN where the mean of ‖G‖² is not positive. It is the population's: for the training set's own gradient, drawn
        without replacement, ‖G‖² is larger by trΣ/n.
        """
        chosen = (self.steps >= first) & (self.steps < (math.inf if past is None else past))
        means = [np.nanmean(self[name][chosen].sum(axis=1)) for name in ("gradient_variance", "gradient_square")]
        return float(means[0] / means[1]) if means[1] > 0 else math.nan

    def table(self) -> "pd.DataFrame":
        """Tidy: a row for each step, name and layer (0 for what belongs to the run), without what was not recorded.

        Histograms and spectra are tidy in a file of their own: `pandas.read_parquet(folder / "distributions.parquet")`.
        """
        import pandas as pd

        pieces = []
        for name, values in zip(self.columns, self._columns(self.columns), strict=True):
            if name == "step":
                continue
            quantity, layer = layer_of(name) or (name, 0)
            piece = pd.DataFrame({"step": self.steps, "name": quantity, "layer": layer, "value": values.astype(float)})
            pieces.append(piece[piece["value"].notna()])
        return pd.concat(pieces, ignore_index=True)


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

        From result.json where it is there, so that a table of thousands reads no records.
        """
        if (kept := self.facts.get("ends")) is not None:
            return {name: np.array(row, dtype=float) for name, row in kept.items()}  # None is NaN
        measured = {name: self.record.measured(name)[1] for name in VERDICT if name in self.record.quantities}
        return {
            name: values[0 if name in AT_START else -1].astype(float)
            for name, values in measured.items()
            if len(values)
        }

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
