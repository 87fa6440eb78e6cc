"""The parquet files of a record: columns without pandas, equal to those that pyarrow makes."""

import numpy as np
import pyarrow as pa
import pytest

from mlpexp.record_files import arrow


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_column_is_what_pyarrow_makes_of_it(dtype: str, share: float) -> None:
    draw = np.random.default_rng(0)
    for count in (0, 1, 7, 8, 9, 100):
        values = draw.normal(size=(count, 2)).astype(dtype)[:, 1]  # not contiguous
        blank = draw.random(count) < share
        assert arrow(values, blank).equals(pa.array(values, mask=blank))
        assert arrow(values).equals(pa.array(values))
