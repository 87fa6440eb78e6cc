"""What was measured of one run, read back: columns, histograms, a tidy table.

Flow: record files → **run record** → results.
"""

import math
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from mlpexp.record_files import DISTRIBUTIONS, Distribution, read_distributions
from mlpexp.records import Array, layer_of

if TYPE_CHECKING:
    import pandas as pd


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
        import pyarrow.parquet as pq

        if not self._read:
            with pq.ParquetFile(self.file) as file:  # which tells the names as well: it is opened once
                table = file.read(use_threads=False)
            self.columns = table.column_names
            self._read = {name: table.column(name).to_numpy() for name in self.columns}
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
