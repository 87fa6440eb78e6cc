"""The record of one run, read back: shapes, names, a tidy table."""

import numpy as np
import pytest
from runs_fixtures import trained

from mlpexp.measurement_catalogue import PRESETS
from mlpexp.results import Result

STEPS = 2 * 17 + 1


@pytest.fixture(scope="module")
def result() -> Result:
    """A run measured every third step."""
    return trained("measurements.every=3", "model.depth=3", "seed=770")[0]


def test_what_is_measured_has_a_row_a_step_and_a_column_a_layer(result: Result) -> None:
    assert result.record.steps.tolist() == list(range(STEPS))
    assert set(result.record.quantities) == set(PRESETS["basic"])
    for quantity in PRESETS["basic"]:
        assert result.record[quantity].shape == (STEPS, 3)
        steps, values = result.record.measured(quantity)
        assert set(steps) <= {*range(0, STEPS, 3), STEPS - 1}  # the last row is always measured
        assert values.shape == (len(steps), 3)
        assert np.isfinite(values).all()


def test_what_was_read_of_a_record_is_known_in_bytes() -> None:
    (result,) = trained("measurements=full", "seed=771")
    record = Result(result.folder).record
    assert record.bytes_read == 0
    _ = record.steps
    assert record.bytes_read == STEPS * 8
    whole = sum(record[name].nbytes for name in record.whole().columns)
    assert record.bytes_read == whole
    histograms = [(one.steps, one.values, one.edges) for one in record.distributions.values()]
    assert record.bytes_read == whole + sum(array.nbytes for arrays in histograms for array in arrays)


def test_a_layers_column_is_its_column_of_the_quantity(result: Result) -> None:
    for layer in (1, 2, 3):
        one = result.record[f"delta_norm/layer_0{layer}"]
        assert np.array_equal(one, result.record["delta_norm"][:, layer - 1], equal_nan=True)


def test_an_unknown_name_is_refused_with_what_there_is(result: Result) -> None:
    with pytest.raises(KeyError, match=r"delta_nrom is not in this record; it has loss/batch.*delta_norm"):
        result.record["delta_nrom"]


def test_a_tidy_table_has_every_number_once(result: Result) -> None:
    table = result.record.table()
    assert list(table.columns) == ["step", "name", "layer", "value"]
    assert table["value"].notna().all()
    assert not table.duplicated(["step", "name", "layer"]).any()
    count = sum(int((~np.isnan(result.record[name])).sum()) for name in result.record.columns if name != "step")
    assert len(table) == count
    one = table[(table["name"] == "delta_norm") & (table["layer"] == 2)]
    assert one["value"].to_numpy() == pytest.approx(result.record.measured("delta_norm")[1][:, 1], rel=0, abs=0)
    assert set(table[table["layer"] == 0]["name"]) == set(result.record.metrics)
