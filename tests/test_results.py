"""Recorded runs, read back: shapes, names, tables."""

from pathlib import Path

import numpy as np
import pytest
from runs_fixtures import composed, trained

from mlpexp import load
from mlpexp.measurement_catalogue import PRESETS
from mlpexp.results import Result, find, recorded
from mlpexp.runner import run

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


def test_evaluations_stand_at_the_ends_of_epochs(result: Result) -> None:
    for name in ("loss/train", "accuracy/validation"):
        assert np.flatnonzero(~np.isnan(result.record[name])).tolist() == [0, 17, 34]
    assert np.isfinite(result.record["loss/batch"]).all()


def test_the_last_evaluation_is_the_score_of_the_final_weights() -> None:
    (final,) = trained("training.restore=final")
    for name in ("loss/train", "accuracy/train", "loss/validation", "accuracy/validation"):
        assert final.record[name][-1] == final.scores[name]


def test_the_best_evaluation_is_the_score_of_the_best_weights() -> None:
    (best,) = trained("optimizer=momentum", "optimizer.learning_rate=1", "training.epochs=3")
    losses = best.record["loss/validation"]
    assert best.scores["loss/validation"] == np.nanmin(losses)
    assert best.facts["best_step"] == best.record.steps[np.nanargmin(losses)]


def test_gaps_are_train_minus_test(result: Result) -> None:
    for kind in ("loss", "accuracy"):
        assert result.scores[f"gap/{kind}"] == result.scores[f"{kind}/train"] - result.scores[f"{kind}/test"]


def test_an_unknown_name_is_refused_with_what_there_is(result: Result) -> None:
    with pytest.raises(KeyError, match=r"delta_nrom is not in this record; it has loss/batch.*delta_norm"):
        result.record["delta_nrom"]


def test_a_regression_has_no_accuracy() -> None:
    (run,) = trained("data=diabetes")
    assert not [name for name in [*run.record.columns, *run.scores] if "accuracy" in name]


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


def test_load_has_a_row_a_run_with_scores_and_flat_keys(tmp_path: Path) -> None:
    place = f"outputs={tmp_path}"
    diverging = composed(place, "optimizer=gradient_descent", "optimizer.learning_rate=1e20")
    results = run([composed(place, "replicates=2"), diverging, composed(place, "data=diabetes")], quiet=True)
    table = load(tmp_path).set_index("fingerprint")
    assert set(table.index) == {result.fingerprint for result in results}
    for result in results:
        row = table.loc[result.fingerprint]
        assert (row["status"], row["seed"]) == (result.status, result.config.seed)
        assert (row["model.depth"], row["optimizer.name"]) == (2, result.config.optimizer.name)
        assert row["data.split.test"] == 0.2
        assert row["folder"] == str(result.folder)
        for name, score in result.scores.items():
            assert row[name] == score
    assert table.loc[results[2].fingerprint][["accuracy/test", "loss/test"]].isna().all()
    assert table["point"].nunique() == 3


def test_load_of_nothing_is_an_empty_table_with_its_columns(tmp_path: Path) -> None:
    table = load(tmp_path / "none")
    assert len(table) == 0
    assert {"fingerprint", "status", "point"} <= set(table.columns)


def test_load_takes_the_outputs_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run(composed(f"outputs={tmp_path}"), quiet=True)
    monkeypatch.setenv("MLPEXP_OUTPUTS", str(tmp_path))
    assert len(load()) == 1
    monkeypatch.delenv("MLPEXP_OUTPUTS")
    monkeypatch.chdir(tmp_path)
    assert len(load()) == 0


def test_half_written_folders_are_no_runs(tmp_path: Path) -> None:
    (first,) = run(composed(f"outputs={tmp_path}"), quiet=True)
    (tmp_path / "runs" / f".{first.fingerprint}.123").mkdir()
    (tmp_path / "runs" / "0123456789abcdef").mkdir()
    assert list(recorded(tmp_path)) == [first]
    assert find(tmp_path, "0123456789abcdef") is None
    assert find(tmp_path, first.fingerprint) == first


def test_a_name_tells_what_varies() -> None:
    assert trained("model.activation=tanh", "initialisation=glorot", "seed=3")[0].name == "tanh-d2-w8-glorot-adam-s3"
    assert trained("model.depth=1")[0].name.startswith("linear-d1-")


def test_the_signal_is_the_first_layers_share_of_the_last(result: Result) -> None:
    deltas = result.record["delta_norm"][0]
    assert result.signal == pytest.approx(deltas[0] / deltas[-1], rel=1e-6)
    assert trained("model.depth=1")[0].signal is None
    assert trained("measurements=none", "seed=77")[0].signal is None


@pytest.mark.parametrize(
    "overrides", [(), ("optimizer=gradient_descent", "optimizer.learning_rate=1e20"), ("model.depth=1",)]
)
def test_what_a_verdict_needs_is_what_the_record_says(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    config = composed("measurements=full", f"outputs={tmp_path}", "training.epochs=2", *overrides)
    (kept,) = run(config, quiet=True)
    read = Result(kept.folder)
    assert set(read.facts.pop("ends")) == set(read.ends) == set(kept.ends) >= {"delta_norm"}
    for name, row in read.ends.items():
        np.testing.assert_array_equal(row, kept.ends[name])
    (longer,) = run(
        config.model_copy(update={"training": config.training.model_copy(update={"epochs": 3})}), quiet=True
    )
    if longer.facts["went_on_from_step"]:
        assert "ends" not in longer.facts
        np.testing.assert_array_equal(longer.ends["delta_norm"], kept.ends["delta_norm"])
