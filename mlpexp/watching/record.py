"""What was measured as a table, and as files of a run.

Flow: quantities → **record** → the user, tracking.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlpexp.records import Array, layer_metric
from mlpexp.watching.layers import Layer
from mlpexp.watching.tracking import RunLog

if TYPE_CHECKING:
    import pandas as pd

    from mlpexp.flow_figures import Sheet


def table_of(measured: Mapping[str, tuple[NDArray[np.int64], Array]], layers: Sequence[Layer]) -> "pd.DataFrame":
    """Columns `step name layer module value` of steps [t] and values [t, L]; no row for NaN, none of histograms."""
    import pandas as pd

    parts = []
    for name, (steps, values) in measured.items():
        if values.ndim == 2 and len(steps):
            step, layer = (place.ravel() for place in np.indices(values.shape))
            parts.append(pd.DataFrame({"step": steps[step], "name": name, "layer": layer + 1, "value": values.ravel()}))
    if not parts:
        return pd.DataFrame(columns=["step", "name", "layer", "module", "value"])
    table = pd.concat(parts, ignore_index=True).dropna(subset="value", ignore_index=True)
    table.insert(3, "module", table["layer"].map({one.number: one.name for one in layers}))
    return table


def keep_files(run: RunLog, table: "pd.DataFrame", plot: "Callable[[], Sheet] | None", depth: int) -> None:
    """The whole record, a row a step, and the picture where there is one, among the run's artifacts."""
    from mlpexp.figures import png

    with tempfile.TemporaryDirectory() as folder:
        record, picture = Path(folder) / "record.parquet", Path(folder) / "gradient_flow.png"
        names = [layer_metric(name, layer, depth) for name, layer in zip(table["name"], table["layer"], strict=True)]
        wide = table.assign(metric=names).pivot(index="step", columns="metric", values="value")
        wide.reset_index().to_parquet(record)
        run.keep(record)
        if plot is None:
            return
        try:
            picture.write_bytes(png(plot()))
        except ValueError:  # nothing in it that could be drawn
            return
        run.keep(picture)
