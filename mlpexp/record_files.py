"""The two parquet files of a run's record, written a group of rows at a time.

Flow: run folder → **record files** → run record, results.

    record.parquet          a row a step: batch loss, evaluations, `quantity/layer_01` …, and what is of the whole run
    distributions.parquet   a row a step, layer and bin (or place in a spectrum); only where some were measured
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mlpexp.measurement_catalogue import CATALOGUE
from mlpexp.measurement_schema import in_order
from mlpexp.records import Array, Piece, layer_metric, metric

GROUP_ROWS = 4096
"""Steps in a group of rows."""
STRETCH_BYTES = 8 << 20
"""Of numbers that are cut into lanes at once."""
RECORD, DISTRIBUTIONS = "record.parquet", "distributions.parquet"

AT_START, AT_END = ("delta_norm",), ("dead_units", "killed_units")
VERDICT = (*AT_START, *AT_END)
"""What a verdict needs of a run: these where they were first, and where they were last measured."""

Measured = dict[str, list[tuple[NDArray[np.int64], Array]]]
"""Quantity → steps and values [t, …] of one lane, piece by piece."""


@dataclass(frozen=True)
class Stretch(Piece):
    """Consecutive pieces of the same lanes in one: cutting a lane out of many pieces took longer than writing it.

    As a piece, but `evaluation` is metric → [T, R], NaN where none was made.
    """

    @classmethod
    def of(cls, pieces: Sequence[Piece]) -> Self:
        """All of them must have the same lanes."""
        names = in_order(name for piece in pieces for name in piece.measured)  # a journal's files do not keep it
        having = {name: [piece for piece in pieces if name in piece.measured] for name in names}
        losses = np.concatenate([piece.losses for piece in pieces])
        starts = np.cumsum([0, *(len(piece.steps) for piece in pieces)])
        evaluation: dict[str, Array] = {}
        for start, piece in zip(starts.tolist(), pieces, strict=False):
            for name, scores in piece.evaluation.items():
                evaluation.setdefault(name, np.full(losses.shape, np.nan))[start] = scores
        return cls(
            pieces[0].lanes,
            np.concatenate([piece.steps for piece in pieces]),
            losses,
            {name: np.concatenate([piece.measured[name] for piece in some]) for name, some in having.items()},
            {name: np.concatenate([piece.measured_at[name] for piece in some]) for name, some in having.items()},
            evaluation,
        )


def stretches(pieces: Iterable[Piece]) -> Iterator[Stretch]:
    """All pieces, some megabytes of them at a time; none reaches beyond a group of rows."""
    some: list[Piece] = []
    rows = size = 0
    for piece in pieces:
        if some and piece.lanes != some[0].lanes:
            yield Stretch.of(some)
            some, size = [], 0
        some.append(piece)
        rows, size = rows + len(piece.steps), size + piece.size
        if rows >= GROUP_ROWS or size >= STRETCH_BYTES:
            yield Stretch.of(some)
            some, size = [], 0
            rows = 0 if rows >= GROUP_ROWS else rows
    if some:
        yield Stretch.of(some)


class LaneRecord:
    """The parquet files of one lane."""

    def __init__(self, folder: Path, last_step: int, evaluations: Sequence[str]) -> None:
        self.folder, self.last_step, self.evaluations = folder, last_step, evaluations
        self.columns: dict[str, list[NDArray[Any]]] = {}
        self.measured: Measured = {}
        self.rows = 0
        self.writers: dict[str, pq.ParquetWriter] = {}
        self.ends: dict[str, Array] | None = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._write()
        for writer in self.writers.values():
            writer.close()

    def go_on(self, earlier: Path, step: int) -> None:
        """Take over the rows before `step` of an earlier run's folder, a group of rows at a time."""
        self.ends = None
        for name in (RECORD, DISTRIBUTIONS):
            if not (earlier / name).exists():
                continue
            with pq.ParquetFile(earlier / name) as file:
                for group in range(file.num_row_groups):
                    rows = file.read_row_group(group)
                    before = rows.column("step").to_numpy() < step
                    self._write_table(name, rows if before.all() else rows.filter(pa.array(before)))

    def append(self, stretch: Stretch, column: int) -> None:
        """One lane's rows. An evaluation stands in the row of its step."""
        count = int(np.searchsorted(stretch.steps, self.last_step, side="right"))
        if not count:
            return
        own: dict[str, NDArray[Any]] = {
            "step": stretch.steps[:count],
            metric("loss", "batch"): stretch.losses[:count, column],
        }
        for name in self.evaluations:
            found = stretch.evaluation.get(name)
            own[name] = np.full(count, np.nan) if found is None else found[:count, column]
        for name, values in own.items():
            self.columns.setdefault(name, []).append(values)
        for name, values in stretch.measured.items():
            steps = stretch.measured_at[name]
            kept = int(np.searchsorted(steps, self.last_step, side="right"))
            self.measured.setdefault(name, []).append((steps[:kept], values[:kept, column]))
            self._keep_ends(name, values[:kept, column])
        self.rows += count
        if self.rows >= GROUP_ROWS:
            self._write()

    def _keep_ends(self, name: str, values: Array) -> None:
        """What a verdict on the run needs, so that thousands of them need no record: see `Result.ends`."""
        if self.ends is None or name not in VERDICT or not len(values := values[~np.isnan(values).all(axis=1)]):
            return
        if name in AT_START:
            self.ends.setdefault(name, values[0])
        else:
            self.ends[name] = values[-1]

    def _write(self) -> None:
        """Write the gathered rows; what was not evaluated or measured at a step is null."""
        if not self.rows:
            return
        cells: dict[str, pa.Array] = {}
        for name, parts in self.columns.items():
            values = np.concatenate(parts)
            cells[name] = arrow(values, np.isnan(values) if name in self.evaluations else None)
        steps = np.concatenate(self.columns["step"])
        distributions = []
        for name, pieces in self.measured.items():
            at, values = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
            if is_distribution(name):
                distributions += [tidy(name, at, values)] if len(at) else []
                continue
            rows = np.searchsorted(steps, at)
            blank = np.ones(len(steps), dtype=bool)
            blank[rows] = False
            for key, own in _columns(name, values):
                column = np.full(len(steps), np.nan, dtype=own.dtype)
                column[rows] = own
                cells[key] = arrow(column, blank)
        self._write_table(RECORD, pa.table(cells))
        for table in distributions:
            self._write_table(DISTRIBUTIONS, table)
        self.columns, self.measured, self.rows = {}, {}, 0

    def _write_table(self, name: str, table: pa.Table) -> None:
        if not len(table):
            return
        if name not in self.writers:
            file = self.folder / name
            self.writers[name] = pq.ParquetWriter(file, table.schema, compression="snappy", write_statistics=False)
        schema = self.writers[name].schema
        there = set(table.column_names)
        for field in schema:
            if field.name not in there:  # due in none of these rows
                table = table.append_column(field, pa.nulls(len(table), field.type))
        self.writers[name].write_table(table.select(schema.names))


def arrow(values: NDArray[Any], blank: NDArray[np.bool_] | None = None) -> pa.Array:
    """Numbers [n] as they are, null where `blank`. pa.array does the same, but loads pandas to see what it is given."""
    there = None if blank is None or not blank.any() else pa.py_buffer(np.packbits(~blank, bitorder="little"))
    content = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [there, content])


def is_distribution(name: str) -> bool:
    """Whether a quantity has many numbers a layer or run, and so its place in the second file."""
    return name in CATALOGUE and CATALOGUE[name].shape in ("[R, L, 2 + 32]", "[R, K]")


def _columns(name: str, values: Array) -> Iterator[tuple[str, Array]]:
    """Name and values [t] of each column: one a layer, or one of the run."""
    if values.ndim == 1:
        yield name, values
        return
    for layer, column in enumerate(values.T, start=1):
        yield layer_metric(name, layer, values.shape[1]), column


def tidy(name: str, steps: NDArray[np.int64], values: Array) -> pa.Table:
    """A row for each step, layer and bin of histograms [t, L, 2 + bins], or each place in spectra [t, K] (layer 0)."""
    histogram = values.ndim == 3
    shape = (*values.shape[:-1], values.shape[-1] - 2) if histogram else values.shape
    if histogram:
        edges = bin_edges(values[..., 0], values[..., 1], shape[-1])
        left, right, values = edges[..., :-1], edges[..., 1:], values[..., 2:]
    else:
        left = right = np.full(shape, np.nan)
    places = np.indices(shape)
    return pa.table(
        {
            "step": np.repeat(steps, int(np.prod(shape[1:]))),
            "quantity": pa.DictionaryArray.from_arrays(np.zeros(values.size, dtype=np.int32), [name]).cast(pa.string()),
            "layer": (places[1].ravel() + 1 if histogram else np.zeros(values.size)).astype(np.int32),
            "bin": (places[-1].ravel() + 1).astype(np.int32),
            "left": pa.array(left.ravel(), mask=None if histogram else np.ones(values.size, dtype=bool)),
            "right": pa.array(right.ravel(), mask=None if histogram else np.ones(values.size, dtype=bool)),
            "value": values.ravel(),
        }
    )


def bin_edges(low: Array, high: Array, bins: int) -> Array:
    """Edges of equal bins between the least and the largest value, [..., bins + 1]."""
    shares = np.arange(bins + 1) / bins
    edges: Array = low[..., None] * (1 - shares) + high[..., None] * shares
    return edges


@dataclass(frozen=True)
class Distribution:
    """A histogram or spectrum, read back: `steps` [t], `values` [t, L, bins] or [t, K], `edges` [t, L, bins + 1]."""

    steps: NDArray[np.int64]
    values: Array
    edges: Array


def read_distributions(file: Path) -> dict[str, Distribution]:
    """The inverse of `tidy`, for each quantity in a file; none where there is no file."""
    if not file.exists():
        return {}
    table = pq.read_table(file)
    names = table.column("quantity").to_numpy()
    found = {}
    for name in dict.fromkeys(names):
        rows = table.filter(pa.array(names == name))
        numbers = {key: rows.column(key).to_numpy() for key in ("step", "layer", "bin", "left", "right", "value")}
        steps, (layers, bins) = np.unique(numbers["step"]), (int(numbers[key].max()) for key in ("layer", "bin"))
        shape = (len(steps), layers, bins) if layers else (len(steps), bins)
        left, right = numbers["left"].reshape(shape), numbers["right"].reshape(shape)
        edges = np.concatenate([left, right[..., -1:]], axis=-1)
        found[str(name)] = Distribution(steps, numbers["value"].reshape(shape), edges)
    return found
