"""Recorded runs for notebooks: a row a run in pandas, every step and layer in xarray. The only import of xarray.

Flow: run_index → selection → **tables**; run folders → **tables**.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlpexp.browse.selection import select, varying, words_of
from mlpexp.config import absolute_outputs
from mlpexp.refusals import ConfigError
from mlpexp.results import Result
from mlpexp.run_index import rows

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

ALWAYS = ("fingerprint", "status", "point", "numerics", "folder")
"""Columns of an empty table."""


def load(
    outputs: str | Path | None = None,
    *,
    study: str | None = None,
    sweep: str | None = None,
    where: str | Iterable[str] | Mapping[str, object] | None = None,
    constant: bool = True,
) -> "pd.DataFrame":
    """Finished runs as a tidy pandas table, one row a run, newest first, without training anything.

    All runs, or those of a `study` or `sweep`, and those for which every condition of `where` holds: written as for
    `mlpexp runs` (`"model.depth=2,4"`, `["status=finished", "loss/test<0.5"]`) or as `{"model.depth": [2, 4]}`.

    Columns: `fingerprint`, `name`, `status`, `point`, `numerics` (runs of one value may be compared to the bit),
    `started` (seconds since 1970), `seconds`, scores, `spent.updates` (and epochs, examples, FLOPs), flat config keys
    (with `constant=False` only those in which the runs differ), and `folder`. `outputs` is the folder that was trained
    into: `$MLPEXP_OUTPUTS`, else `outputs` here, unless given. Raises ConfigError for an unknown key, sweep or study,
    and for a damaged run folder.

    >>> from mlpexp import load
    >>> table = load(where="status=finished")
    >>> {"fingerprint", "status"} <= set(table.columns)
    True
    """
    import pandas as pd

    place = Path(absolute_outputs(str(outputs or os.environ.get("MLPEXP_OUTPUTS", "outputs"))))
    finished = [row for row in rows(place) if Path(row["folder"]).parent.name == "runs"]
    damaged = [f"{row['folder']} is damaged ({row['problem']})" for row in finished if row["status"] == "damaged"]
    if damaged:
        raise ConfigError([f"{line}; remove the folder, and the run is trained again" for line in damaged])
    asked = [f"{kind}={name}" for kind, name in (("study", study), ("sweep", sweep)) if name is not None]
    found = select(finished, [*asked, *words_of(where)], place)
    if not constant:
        kept = set(varying(found))
        found = [{k: v for k, v in row.items() if k in kept or "." not in k or k.startswith("spent.")} for row in found]
    return pd.DataFrame(found, columns=None if found else list(ALWAYS))


def load_records(
    runs: "pd.DataFrame | Sequence[Result]", quantities: Sequence[str] | None = None, keys: Sequence[str] | None = None
) -> "xr.Dataset":
    """What runs recorded at every step and layer, as an xarray Dataset over `run`, `step` and `layer`.

    `runs` is a table from `load` or results of `run`. `delta_norm` and the like are [run, step, layer], `loss/train`
    and the like [run, step]; `quantities` names those wanted, all unless given. What a run did not record (a later
    step, a deeper layer, a step between two measurements) is NaN. Coordinates: `run` (fingerprints), `step` (updates
    made before), `layer` (1 is next to the input), `status`, and along `run` the config keys in which the runs differ,
    or `keys`. Raises ConfigError for runs, quantities or keys that are not there.

    >>> import mlpexp
    >>> results = mlpexp.run(mlpexp.compose(["training.epochs=1", "tracking=none"]), quiet=True)
    >>> mlpexp.load_records(results)["delta_norm"].sizes
    Frozen({'run': 1, 'step': 18, 'layer': 4})
    """
    import xarray as xr

    results = _results(runs)
    if not results:
        raise ConfigError(["no runs were given; mlpexp.load(…) has none that fit, or nothing is recorded"])
    read = [result.record for result in results]
    there = dict.fromkeys(name for record in read for name in (*record.metrics, *record.quantities))
    names = list(there) if quantities is None else list(quantities)
    for name in names:
        if name not in there:
            raise ConfigError([f"{name} was not recorded by any of these runs; they have {', '.join(there)}"])
    steps = np.unique(np.concatenate([record.steps for record in read]))
    depth = max(result.config.model.depth for result in results)
    variables = {}
    for name in names:
        layered = any(name in record.quantities for record in read)
        values = np.full((len(results), len(steps), *([depth] if layered else [])), np.nan)
        for i, record in enumerate(read):
            if name in (*record.metrics, *record.quantities):
                at, own = np.searchsorted(steps, record.steps), record[name]
                values[(i, at, slice(own.shape[1])) if layered else (i, at)] = own
        variables[name] = (("run", "step", "layer")[: values.ndim], values)
    coordinates = {"run": [result.fingerprint for result in results], "step": steps, "layer": np.arange(1, depth + 1)}
    along = {"status": [result.status for result in results], **_keys_along(results, keys)}
    return xr.Dataset(variables, coordinates | {key: ("run", values) for key, values in along.items()})


def _results(runs: "pd.DataFrame | Sequence[Result]") -> list[Result]:
    """Each run once, in order."""
    if isinstance(runs, Sequence):
        return list(dict.fromkeys(runs))
    if "folder" not in runs.columns:
        raise ConfigError([f"the table has no column folder, which leads to the records; it has {list(runs.columns)}"])
    return [Result(Path(folder)) for folder in dict.fromkeys(runs["folder"])]


def _keys_along(results: Sequence[Result], keys: Sequence[str] | None) -> dict[str, list[object]]:
    """The config keys in which the runs differ, or those asked for; lists as text, which xarray can hold."""
    flats = [{"status": result.status, **result.config.flat()} for result in results]
    known = {key for flat in flats for key in flat}
    if missing := [key for key in keys or () if key not in known]:
        raise ConfigError([f"no run has a {missing[0]}; a config key is wanted, as model.depth"])
    chosen = varying(flats) if keys is None else keys
    return {key: [_held(flat.get(key)) for flat in flats] for key in chosen if key != "status"}


def _held(value: object) -> object:
    return str(value) if isinstance(value, list | dict) else value
