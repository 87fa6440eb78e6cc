"""What MLflow tells of the runs of an outputs folder, and a run that diverges."""

from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run

DIVERGED = ("optimizer=gradient_descent", "optimizer.learning_rate=1e20", "training.loss=mse", "model.output=identity")


def shown_in(outputs: Path, experiment: str = "mlpexp") -> dict[str, Run]:
    """Runs in a store, by name."""
    client = MlflowClient(tracking_uri=f"sqlite:///{outputs / 'mlflow.db'}")
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    runs = client.search_runs([found.experiment_id])
    assert len({shown.info.run_name for shown in runs}) == len(runs)
    return {str(shown.info.run_name): shown for shown in runs}


def history(outputs: Path, shown: Run) -> dict[str, list[tuple[int, float]]]:
    """Every point of every metric of a run."""
    client = MlflowClient(tracking_uri=f"sqlite:///{outputs / 'mlflow.db'}")
    return {
        key: [(m.step, m.value) for m in client.get_metric_history(shown.info.run_id, key)]
        for key in shown.data.metrics
    }
