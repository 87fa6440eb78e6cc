"""Recorded runs, read back: scores, names, tables, what a verdict needs."""

from pathlib import Path

import numpy as np
import pytest
from runs_fixtures import composed, trained

from mlpexp import load
from mlpexp.results import Result, find, recorded
from mlpexp.runner import run


@pytest.fixture(scope="module")
def result() -> Result:
    """A run measured every third step."""
    return trained("measurements.every=3", "model.depth=3", "seed=770")[0]


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


def test_a_regression_has_no_accuracy() -> None:
    (run,) = trained("data=diabetes")
    assert not [name for name in [*run.record.columns, *run.scores] if "accuracy" in name]


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


def test_what_a_verdict_needs_of_a_run_that_went_on_is_what_it_needs_of_one_trained_at_once(tmp_path: Path) -> None:
    point = ("measurements=full", "optimizer.learning_rate=0.2", "model.depth=5")

    def of_epochs(epochs: int, place: str) -> Result:
        return run(composed(*point, f"training.epochs={epochs}", f"outputs={tmp_path / place}"), quiet=True)[0]

    shorter, longer, whole = of_epochs(2, "twice"), of_epochs(5, "twice"), of_epochs(5, "once")
    assert longer.facts["went_on_from_step"] == shorter.facts["last_step"] > 0
    assert whole.facts["went_on_from_step"] == 0
    assert set(longer.ends) == set(whole.ends) == {"delta_norm", "dead_units", "killed_units"}
    for name, row in whole.ends.items():
        np.testing.assert_array_equal(longer.ends[name], row)
    for name in ("dead_units", "killed_units"):
        assert not np.array_equal(shorter.ends[name], whole.ends[name], equal_nan=True), "the end is another one"


def test_a_signal_beyond_all_numbers_is_nan_from_the_result_as_from_the_record(tmp_path: Path) -> None:
    """Tiny inputs and large weights: outputs are finite, the first layer's δ is not, and the run diverges at once."""
    rows = "".join(f"{number}e-32,{'xy'[number % 2]}\n" for number in range(1, 41))
    (tmp_path / "tiny.csv").write_text("a,class\n" + rows)
    (result,) = run(composed(
        "data=table", f"data.path={tmp_path}/tiny.csv", "data.target=class", "data.normalisation=none",
        "training.batch_size=12", "initialisation=normal", "initialisation.sigma_w=1e9", "model.depth=6",
        "model.width=1", "model.activation=leaky_relu", f"outputs={tmp_path}",
    ), quiet=True)  # fmt: skip
    assert result.facts["diverged_at_step"] == 0
    assert result.record["delta_norm"][0, 0] == np.inf
    read = Result(result.folder)
    assert read.facts.pop("ends")["delta_norm"][0] is None
    for one in (result, read):
        assert np.isnan(one.ends["delta_norm"]).tolist() == [True, *[False] * 5]
        assert one.signal is not None
        assert np.isnan(one.signal)
