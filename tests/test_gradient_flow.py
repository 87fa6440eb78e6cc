"""Gradient flow to be moved about in: what the page shows is what was recorded, and it needs nothing from elsewhere."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from runs_fixtures import SILENT, trained

from mlpexp.cli import main
from mlpexp.gradient_flow import MOST_STEPS, Flows, flow_of, page
from mlpexp.results import Result
from mlpexp.runner import execute, order_of

DEEP = ("model.depth=6", "model.activation=sigmoid", "initialisation=glorot", "replicates=3")


@pytest.fixture(scope="module")
def runs() -> list[Result]:
    return trained(*DEEP)


def test_a_cell_is_the_geometric_mean_over_seeds_of_what_was_recorded(runs: list[Result]) -> None:
    flow = flow_of(runs)
    assert flow is not None
    for name in ("delta_norm", "gradient_norm"):
        shown = flow["quantities"][name]
        assert (shown["steps"][0], shown["steps"][-1]) == (0, 34)
        assert len(shown["steps"]) <= MOST_STEPS
        assert np.shape(shown["values"]) == (6, len(shown["steps"]))
        for column in (0, len(shown["steps"]) // 2):
            step = shown["steps"][column]
            product = np.prod([run.record[name][step, 1].astype(float) for run in runs])
            assert 10 ** shown["values"][1][column] == pytest.approx(product ** (1 / 3), rel=2e-3)


def test_seeds_are_shown_up_to_the_step_that_all_of_them_reached(runs: list[Result]) -> None:
    (longer,) = trained(*DEEP, "replicates=1", "training.epochs=3")
    flow = flow_of([runs[0], longer])
    assert flow is not None
    assert flow["quantities"]["delta_norm"]["steps"][-1] == 34 < longer.record.steps[-1]


def test_theory_ends_at_the_measured_signal_of_the_last_layer_and_falls_as_measured(runs: list[Result]) -> None:
    flow = flow_of(runs)
    assert flow is not None
    measured = [line[0] for line in flow["quantities"]["delta_norm"]["values"]]
    assert flow["theory"][-1] == pytest.approx(measured[-1], abs=1e-3)
    assert flow["theory"][0] == pytest.approx(measured[0], abs=0.5)  # eight units are few
    assert measured[0] < measured[-1] - 1


def test_where_theory_says_nothing_no_line_is_drawn() -> None:
    flow = flow_of(trained("model.depth=3", "initialisation=lsuv"))
    assert flow is not None
    assert "theory" not in flow


def test_a_signal_that_is_zero_leaves_a_hole() -> None:
    flow = flow_of(trained(*SILENT))
    assert flow is not None
    assert flow["quantities"]["delta_norm"]["values"][0][0] is None
    assert len(flow["layers"]) == 60


def test_what_was_not_measured_has_no_page() -> None:
    assert flow_of(trained("measurements=none", "seed=86")) is None


def test_a_page_carries_its_library_and_its_data_and_asks_for_nothing(runs: list[Result]) -> None:
    flow = flow_of(runs)
    assert flow is not None
    text = page("</script>", {"one": flow})
    assert "Plotly.react" in text
    assert not re.search(r"<(?:script|link|img)[^>]+(?:src|href)=", text.partition("<script>")[0])
    (data,) = re.findall(r'<script id="data" type="application/json">(.*?)</script>', text, re.S)
    assert json.loads(data)["points"] == [flow]
    assert json.loads(data)["title"].startswith("</script>")


def test_several_orders_of_one_sweep_add_to_one_page_which_is_written_where_it_changed(
    tmp_path: Path, runs: list[Result]
) -> None:
    first = Flows(tmp_path, "a study/quick")
    first.add(runs)
    file = first.write()
    assert file is not None
    assert file.parent == tmp_path / "pictures"
    again = Flows(tmp_path, "a study/quick")
    again.add(runs)
    assert again.write() is None
    again.add(trained("model.depth=3"))
    assert again.write() == file
    assert len(json.loads(file.with_suffix(".json").read_text())) == 2


def test_a_sweep_leaves_its_page_in_mlflow_once(tmp_path: Path) -> None:
    from mlflow import MlflowClient
    from runs_fixtures import composed

    config = composed("tracking=mlflow", f"outputs={tmp_path}", "replicates=2")
    for _ in range(2):
        execute(order_of([config]), quiet=True, sweep="3fa2")
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    (run,) = client.search_runs(["1"], "tags.`mlpexp.pictures` = '3fa2'")
    assert [one.path for one in client.list_artifacts(run.info.run_id)] == ["gradient_flow.html"]
    assert f"/runs/{run.info.run_id}/artifacts/gradient_flow.html" in run.data.tags["mlflow.note.content"]
    assert len(client.search_runs(["1"])) == 3


def test_show_writes_the_page_of_a_run(tmp_path: Path, runs: list[Result], capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "flow.html"
    outputs = str(runs[0].folder.parent.parent)
    assert main(["show", runs[0].fingerprint, "--outputs", outputs, "--html", str(file)]) == 0
    assert "sigmoid-d6" in file.read_text()
    assert capsys.readouterr().out.splitlines()[-1] == f"gradient flow: {file}"
