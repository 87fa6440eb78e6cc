"""A watched loop in MLflow: points, record and picture of what was whole; a store that is away stops no training."""

from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from watched_loops import batch, network, plainly

import mlpexp
from mlpexp.measurement_catalogue import PRESETS


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("store")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    mlflow.MlflowClient(uri).create_experiment("watched", artifact_location=str(folder / "files"))
    return uri


@pytest.fixture
def store(empty_store: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI that MLflow takes for its own; it has an experiment `watched`."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", empty_store)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "watched")
    return empty_store


def test_an_mlflow_run_has_points_record_and_picture_of_what_was_whole(store: str) -> None:
    with mlflow.start_run() as run:
        net = network()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        watched = mlpexp.watch(net, optimizer, prefix="net")

        def train() -> None:
            for step in range(60):
                plainly(net, *batch())
                _ = 1 / (50 - step)
                optimizer.step()

        with pytest.raises(ZeroDivisionError), watched:
            train()
    client = mlflow.MlflowClient()
    data = client.get_run(run.info.run_id).data
    assert {name.split("/")[1] for name in data.metrics} == set(PRESETS["basic"])
    assert data.tags["net/layer_03"] == "4 (Linear)"
    history = client.get_metric_history(run.info.run_id, "net/delta_norm/layer_02")
    own = {point.step: point.value for point in history}
    assert {0, 1, 2, 3, 10} <= own.keys() <= set(range(50))
    assert len(own) < 50
    np.testing.assert_array_equal(list(own.values()), watched["delta_norm"][list(own), 1])
    folder = Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="net"))
    record = pd.read_parquet(folder / "record.parquet")
    np.testing.assert_array_equal(record["delta_norm/layer_02"], watched["delta_norm"][:, 1])
    assert record["step"].tolist() == list(range(50))
    assert (folder / "gradient_flow.png").stat().st_size > 5_000


def test_a_store_that_is_away_stops_no_training(store: str) -> None:
    client = mlflow.MlflowClient(store)
    run = client.create_run(client.search_experiments(filter_string="name = 'watched'")[0].experiment_id)
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    watched = mlpexp.watch(net, optimizer, run_id=run.info.run_id)
    client.delete_run(run.info.run_id)
    plainly(net, *batch())
    optimizer.step()
    with pytest.warns(UserWarning, match=r"not all of it is in MLflow \(.*table\(\) has it"):
        watched.close()
    assert len(watched.table())


def test_a_run_that_is_not_there_is_refused(store: str) -> None:
    net = network()
    with pytest.raises(ValueError, match=r"run_id='0{32}' cannot be read"):
        mlpexp.watch(net, torch.optim.SGD(net.parameters(), lr=0.1), run_id="0" * 32)
    assert not any(one._forward_hooks for one in net.modules())
