"""Run folders → MLflow on SQLite: what a person sees there, and that showing twice writes once."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from runs_fixtures import SMALL, composed, trained
from tracked_runs import DIVERGED, history, shown_in

from mlpexp import composition
from mlpexp.cli import main
from mlpexp.config import Tracking
from mlpexp.gradient_verdict import gradient_verdict
from mlpexp.projection import MOST_POINTS, points_of
from mlpexp.records import layer_of
from mlpexp.results import Result
from mlpexp.run_note import NOTE, is_ours
from mlpexp.runner import run
from mlpexp.shown import SHOWN, Shown
from mlpexp.tracking import show_runs


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with three runs, one of which diverged."""
    folder = tmp_path_factory.mktemp("tracked")
    common = ("tracking=mlflow", "tracking.experiment=a study", f"outputs={folder}", "model.depth=3")
    run([composed("replicates=2", *common), composed(*DIVERGED, *common)], quiet=True)
    return folder


@pytest.fixture(scope="module")
def finished(outputs: Path) -> tuple[Run, Result]:
    """One of the finished runs: as shown, and its record."""
    shown = shown_in(outputs, "a study")["relu-d3-w8-he-adam-s1"]
    return shown, Result(outputs / "runs" / shown.data.tags["mlpexp.fingerprint"])


def test_runs_are_flat_and_named_by_what_varies(outputs: Path) -> None:
    runs = shown_in(outputs, "a study")
    assert set(runs) == {"relu-d3-w8-he-adam-s0", "relu-d3-w8-he-adam-s1", "relu-d3-w8-he-gradient_descent-s0"}
    assert not any("mlflow.parentRunId" in shown.data.tags for shown in runs.values())
    assert {shown.info.status for shown in runs.values()} == {"FINISHED"}


def test_tags_tell_fingerprint_point_status_and_signal(outputs: Path, finished: tuple[Run, Result]) -> None:
    shown, result = finished
    tags = shown.data.tags
    assert tags["mlpexp.fingerprint"] == result.fingerprint
    assert tags["mlpexp.status"] == "finished"
    assert tags["mlpexp.point"] == result.config.point()
    assert tags["mlpexp.folder"] == str(result.folder)
    assert "of the signal of layer 3" in tags["mlpexp.gradient"]
    assert tags["mlpexp.verdict"] == "passing"
    assert f"/runs/{shown.info.run_id}/artifacts/" in tags["mlflow.note.content"]
    points = Counter(other.data.tags["mlpexp.point"] for other in shown_in(outputs, "a study").values())
    assert sorted(points.values()) == [1, 2]


def test_params_are_the_flat_config(finished: tuple[Run, Result]) -> None:
    shown, result = finished
    flat = {key: str(value) for key, value in result.config.flat().items() if value is not None}
    assert shown.data.params == flat
    assert {"model.depth", "optimizer.learning_rate", "data.split.seed", "seed"} <= set(flat)


def test_curves_are_those_of_the_record(outputs: Path, finished: tuple[Run, Result]) -> None:
    shown, result = finished
    points = history(outputs, shown)
    assert sum(map(len, points.values())) <= MOST_POINTS == 600
    for name in ("loss/batch", "loss/train", "accuracy/validation"):
        assert points[name]
        for step, value in points[name]:
            assert value == pytest.approx(float(result.record[name][step]), rel=1e-12)
    for name, score in result.scores.items():
        if name.startswith("gap") or name.endswith("test"):
            assert points[name] == [(34, pytest.approx(score))]


def test_layers_come_at_log_spaced_steps_zero_padded(outputs: Path, finished: tuple[Run, Result]) -> None:
    shown, result = finished
    points = history(outputs, shown)
    layers = [name for name in points if layer_of(name)]
    assert sorted(layers) == [f"{q}/layer_0{l}" for q in ("delta_norm", "gradient_norm") for l in (1, 2, 3)]
    steps = [step for step, _ in points["delta_norm/layer_01"]]
    assert (steps[0], steps[-1]) == (0, 34)
    assert len(steps) <= 20
    gaps = np.diff(steps)
    assert gaps[:3].max() == 1 < 3 <= gaps[-3:].min()
    for step, value in points["delta_norm/layer_02"]:
        assert value == pytest.approx(float(result.record["delta_norm"][step, 1]), rel=1e-12)


def test_a_profile_is_one_metric_whose_step_is_the_layer(outputs: Path, finished: tuple[Run, Result]) -> None:
    shown, result = finished
    points = history(outputs, shown)
    for moment, row in (("start", 0), ("end", -1)):
        steps, values = zip(*points[f"profile/delta_norm_{moment}"], strict=True)
        assert steps == (1, 2, 3)
        assert values == pytest.approx(result.record["delta_norm"][row].tolist(), rel=1e-12)


def test_the_data_set_is_named_with_its_digest(finished: tuple[Run, Result]) -> None:
    shown, result = finished
    assert shown.inputs is not None
    (used,) = shown.inputs.dataset_inputs
    assert used.dataset.name == "digits"
    assert result.facts["data"]["digest"].startswith(used.dataset.digest)
    assert json.loads(str(used.dataset.profile))["train_examples"] == 1077


def test_artifacts_are_copies_with_a_picture(outputs: Path, finished: tuple[Run, Result]) -> None:
    shown, result = finished
    client = MlflowClient(tracking_uri=f"sqlite:///{outputs / 'mlflow.db'}")
    names = {artifact.path for artifact in client.list_artifacts(shown.info.run_id)}
    assert names == {"config.yaml", "environment.json", "result.json", "gradient_flow.png"}
    copy = Path(client.download_artifacts(shown.info.run_id, "config.yaml"))
    assert copy.read_bytes() == (result.folder / "config.yaml").read_bytes()


def test_a_diverged_run_is_told_by_tags_and_has_no_infinite_metric(outputs: Path) -> None:
    shown = shown_in(outputs, "a study")["relu-d3-w8-he-gradient_descent-s0"]
    result = Result(outputs / "runs" / shown.data.tags["mlpexp.fingerprint"])
    assert np.isinf(result.record["loss/batch"]).any()
    assert shown.data.tags["mlpexp.status"] == "diverged"
    assert shown.data.tags["mlpexp.diverged_at_step"] == str(result.facts["diverged_at_step"])
    values = [value for points in history(outputs, shown).values() for _, value in points]
    assert values
    assert np.isfinite(values).all()
    assert max(map(abs, values)) < 1e300


def test_showing_twice_writes_once(outputs: Path) -> None:
    before = shown_in(outputs, "a study")
    points = {name: history(outputs, shown) for name, shown in before.items()}
    show_runs([Result(f) for f in sorted((outputs / "runs").iterdir())], Tracking(experiment="a study"), outputs)
    after = shown_in(outputs, "a study")
    assert {name: shown.info.run_id for name, shown in after.items()} == {n: s.info.run_id for n, s in before.items()}
    assert {name: history(outputs, shown) for name, shown in after.items()} == points


def test_sync_writes_the_notes_of_an_earlier_version_anew_and_leaves_what_people_wrote(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*SMALL[1:], "tracking=mlflow", "tracking.experiment=a study", "replicates=3", f"outputs={tmp_path}"]
    results = run(composition.compose(words), quiet=True)
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    shown = [Shown.read(result) for result in results]
    ids = [one.run_id for one in shown if one is not None]
    notes = [client.get_run(run_id).data.tags[NOTE] for run_id in ids]
    assert all(map(is_ours, notes))
    assert main(["sync", "--outputs", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "0 runs brought into experiment mlpexp\n"
    client.set_tag(ids[0], NOTE, notes[0].replace("finished", "ended"))
    client.set_tag(ids[1], NOTE, f"{notes[1]}\nLook here again.")
    client.delete_run(ids[2])
    for result, one in zip(results, shown, strict=True):
        assert one is not None
        one.edition = "older"
        one.write(result)
    assert main(["sync", "--outputs", str(tmp_path)]) == 0
    assert "; 1 notes of an earlier mlpexp written anew" in capsys.readouterr().out
    found = [client.get_run(run_id).data.tags[NOTE] for run_id in ids]
    assert found[0] == notes[0]
    assert found[1] == f"{notes[1]}\nLook here again."
    assert main(["sync", "--outputs", str(tmp_path)]) == 0
    assert "anew" not in capsys.readouterr().out


def test_a_half_written_run_is_written_again_and_one_trained_again_replaces_its_old_self(tmp_path: Path) -> None:
    config = composed("tracking=mlflow", f"outputs={tmp_path}", "measurements=none")
    (result,) = run(config, quiet=True)
    (first,) = shown_in(tmp_path).values()
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    client.delete_tag(first.info.run_id, "mlpexp.tracked")  # as if it had been killed before the last write
    (result.folder / SHOWN).unlink()
    run(config, quiet=True)
    (second,) = shown_in(tmp_path).values()
    assert second.info.run_id != first.info.run_id
    run(config, rerun=True, quiet=True)
    (third,) = shown_in(tmp_path).values()
    assert third.info.run_id != second.info.run_id
    assert third.data.tags["mlpexp.fingerprint"] == result.fingerprint


@pytest.mark.parametrize(
    "overrides",
    [
        ("model.depth=100", "training.epochs=1"),
        ("model.depth=16", "training.epochs=60"),
        ("model.depth=1", "training.epochs=60"),
    ],
)
def test_no_run_has_more_points_than_the_page_draws(overrides: tuple[str, ...]) -> None:
    (result,) = trained(*overrides, "model.width=4", "training.batch_size=256")
    metrics = points_of(result, gradient_verdict([result]))
    assert len(metrics) <= MOST_POINTS
    assert {metric.key for metric in metrics} >= {"loss/train", "profile/delta_norm_start", "accuracy/test"}
    assert len({(metric.key, metric.step) for metric in metrics}) == len(metrics)
    if result.config.model.depth > 1:
        layers = [metric.step for metric in metrics if metric.key == "profile/delta_norm_start"]
        assert (layers[0], layers[-1]) == (1, result.config.model.depth)
