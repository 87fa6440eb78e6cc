"""`mlpexp lineage …` end to end: what is printed, written and shown in MLflow; refusals; the road's claims."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from runs_fixtures import files_below

from mlpexp.cli import main
from mlpexp.figures import pdf, png
from mlpexp.lineage.chapters import mcculloch_pitts, perceptron
from mlpexp.lineage.commands import CHAPTERS

QUICK = {
    "hodgkin_huxley": ["--current", "12", "--duration", "30"],
    "mcculloch_pitts": ["y = not x1 or (x2 and x3)"],
    "perceptron": ["--examples", "40", "--gap", "0.1"],
    "logistic_regression": ["data=moons", "data.noise=0.2", "--updates", "300"],
    "road": ["--seed", "3"],
}
TABLES = {
    "hodgkin_huxley": {"trace", "pulses", "peaks", "refractoriness", "firing_rates"},
    "mcculloch_pitts": {"truth_table", "units"},
    "perceptron": {"points", "path", "bounds", "xor"},
    "logistic_regression": {"parameters", "training"},
    "road": {"neuron", "test_examples", "accuracies"},
}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all chapters write."""
    return tmp_path_factory.mktemp("lineage")


@pytest.fixture(scope="module")
def told(outputs: Path) -> dict[str, list[str]]:
    """What each chapter prints, by its name; run once, in this process."""
    from contextlib import redirect_stdout
    from io import StringIO

    found = {}
    for chapter, words in QUICK.items():
        with redirect_stdout(StringIO()) as text:
            assert main(["lineage", chapter, *words, "--outputs", str(outputs)]) == 0
        found[chapter] = text.getvalue().splitlines()
    return found


def runs_of(outputs: Path, chapter: str) -> list[Run]:
    client = MlflowClient(tracking_uri=f"sqlite:///{outputs / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("lineage")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], f"tags.`mlpexp.lineage` = '{chapter}'"))


def table(outputs: Path, chapter: str, name: str) -> pd.DataFrame:
    return pd.read_csv(outputs / "lineage" / chapter / f"{name}.csv")


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_prints_what_it_found_and_where_it_is(
    chapter: str, outputs: Path, told: dict[str, list[str]]
) -> None:
    blank = len(told[chapter]) - 1 - told[chapter][::-1].index("")
    result, paths = told[chapter][:blank], told[chapter][blank + 1 :]
    assert 4 < len(result) < 20
    assert max(map(len, result)) <= 80
    assert not any("\x1b" in line for line in result)
    assert paths[-1].startswith("MLflow: experiment lineage, run ")
    folder = outputs / "lineage" / chapter
    assert {Path(path).name for path in paths[:-1]} == {file.name for file in folder.iterdir()}
    assert {file.stem for file in folder.glob("*.csv")} == TABLES[chapter]


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_leaves_a_figure_and_full_tables(chapter: str, outputs: Path, told: dict[str, list[str]]) -> None:
    folder = outputs / "lineage" / chapter
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "figure.pdf").read_bytes().startswith(b"%PDF")
    for name in TABLES[chapter]:
        found = table(outputs, chapter, name)
        assert len(found) > 0
        if name != "refractoriness":  # absolutely refractory: no threshold there
            assert found.notna().all().all()


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_is_one_run_in_mlflow(chapter: str, outputs: Path, told: dict[str, list[str]]) -> None:
    (run,) = runs_of(outputs, chapter)
    assert run.info.status == "FINISHED"
    assert run.info.run_id == told[chapter][-1].rpartition(" ")[2]
    assert run.data.params
    assert run.data.metrics
    place = outputs / "artifacts" / "lineage" / run.info.run_id / "artifacts"
    written = outputs / "lineage" / chapter
    assert {file.name for file in place.iterdir()} == {file.name for file in written.iterdir()}
    assert (place / "figure.png").read_bytes() == (written / "figure.png").read_bytes()


def test_numbers_in_mlflow_are_the_ones_in_the_tables(outputs: Path, told: dict[str, list[str]]) -> None:
    (neuron,) = runs_of(outputs, "hodgkin_huxley")
    assert neuron.data.params["current"] == "12.0"
    rates = table(outputs, "hodgkin_huxley", "firing_rates")
    begins = rates[rates["rate_per_s"] > 0]["current_uA_per_cm2"].iloc[0]
    assert neuron.data.metrics["onset_uA_per_cm2"] == pytest.approx(begins)
    assert begins == pytest.approx(6.26, abs=0.02)
    (learner,) = runs_of(outputs, "perceptron")
    assert learner.data.metrics["mistakes"] == len(table(outputs, "perceptron", "path")) - 1
    assert learner.data.metrics["xor_accuracy_best"] == 0.75
    (twice,) = runs_of(outputs, "logistic_regression")
    assert twice.data.metrics["distance_relative"] < 1e-6
    assert (outputs / "runs" / twice.data.params["run"] / "result.json").exists()


def test_on_the_road_only_the_designed_and_the_deep_network_tell_xor(outputs: Path, told: dict[str, list[str]]) -> None:
    accuracies = table(outputs, "road", "accuracies").set_index("step")["accuracy"]
    assert list(accuracies.index) == ["mcculloch_pitts", "perceptron", "logistic_regression", "mlp"]
    assert accuracies["mcculloch_pitts"] > 0.98
    assert accuracies["mlp"] > 0.98
    assert accuracies["perceptron"] < 0.85
    assert accuracies["logistic_regression"] < 0.85
    examples = table(outputs, "road", "test_examples")
    right = ((examples["mlp"] > 0.5) == (examples["label"] == 1)).mean()
    assert accuracies["mlp"] == pytest.approx(right)
    (run,) = runs_of(outputs, "road")
    assert (outputs / "runs" / run.data.params["run"] / "result.json").exists()


def test_the_printed_truth_table_is_the_functions(outputs: Path, told: dict[str, list[str]]) -> None:
    lines = told["mcculloch_pitts"]
    assert "2 units in 2 levels, 4 connections; designed, not trained" in lines
    rows = [line.replace("|", "").split() for line in lines if line.startswith((" 0 ", " 1 "))]
    assert len(rows) == 8
    for x1, x2, x3, y in ([int(bit) for bit in row] for row in rows):
        assert y == int(not x1 or (x2 and x3))


def test_the_same_command_again_gives_the_same_bytes_and_no_second_run(
    outputs: Path, told: dict[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = outputs / "lineage" / "perceptron"
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert main(["lineage", "perceptron", *QUICK["perceptron"], "--outputs", str(outputs)]) == 0
    assert capsys.readouterr().out.splitlines() == told["perceptron"]
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert len(runs_of(outputs, "perceptron")) == 1


def test_a_store_that_is_away_only_warns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in_the_way").write_text("")
    words = ["x1 and x2", "--outputs", str(tmp_path), "--uri", f"sqlite:///{tmp_path}/in_the_way/mlflow.db"]
    assert main(["lineage", "mcculloch_pitts", *words]) == 0
    said = capsys.readouterr()
    assert said.err.startswith("mlpexp: MLflow was not reached")
    assert "Traceback" not in said.err
    assert (tmp_path / "lineage" / "mcculloch_pitts" / "figure.png").exists()


def test_without_tracking_nothing_is_logged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lineage", "mcculloch_pitts", "a", "xor", "b", "--no-tracking", "--outputs", str(tmp_path)]) == 0
    assert "MLflow" not in capsys.readouterr().out
    assert [file for file in files_below(tmp_path) if not file.startswith("lineage")] == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["hodgkn_huxley"], "did you mean hodgkin_huxley?"),
        (["hodgkin_huxley", "--current", "much"], "--current: must be a number from -100 to 150, got 'much'"),
        (["hodgkin_huxley", "--current", "nan"], "got 'nan'"),
        (["hodgkin_huxley", "--duration", "0"], "must be a number from 10 to 1000"),
        (["hodgkin_huxley", "--curent", "5"], "--curent"),
        (["mcculloch_pitts"], "expression"),
        (["mcculloch_pitts", "x1 +"], "character"),
        (["perceptron", "--examples", "1"], "must be a whole number from 2 to 1000, got '1'"),
        (["perceptron", "--seed", "1.5"], "must be a whole number"),
        (["logistic_regression", "data=iris"], "iris has 3 classes"),
        (["logistic_regression", "data=diabetes"], "diabetes has real targets"),
        (["logistic_regression", "data=iriss"], "did you mean iris?"),
        (["logistic_regression", "model.depth=2"], "model.depth=2 is no key of the data"),
        (["logistic_regression", "data=breast_cancer"], "--l2 0.01"),
        (["logistic_regression", "data=moons", "data.label_noise=0.1"], "data.label_noise"),
        (["logistic_regression", "data=moons", "data.split.validation=0.1"], "data.split.validation"),
        (["logistic_regression", "data=table", "data.path=nowhere.csv", "data.target=y"], "nowhere.csv"),
        (["road", "more"], "more"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line_or_two(
    words: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLPEXP_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.chdir(tmp_path)
    assert main(["lineage", *words]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert says in said.err
    lines = said.err.splitlines()
    assert 1 <= len(lines) <= 2
    assert all(line.startswith("mlpexp: ") for line in lines)
    assert files_below(tmp_path) == []


@pytest.mark.parametrize("words", [[], ["--help"]])
def test_alone_it_lists_every_chapter_with_a_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lineage", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines if line.startswith("  ")] == list(CHAPTERS)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "lineage").write_text("in the way")
    assert main(["lineage", "mcculloch_pitts", "a", "--no-tracking", "--outputs", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("mlpexp: ")


@pytest.mark.parametrize("text", ["True", "not x", "a ^ b ^ c ^ d ^ e", "a and long_name_of_an_input or b"])
def test_any_net_can_be_drawn_and_the_same_net_gives_the_same_bytes(text: str) -> None:
    one, again = (mcculloch_pitts.find([text]).figure for _ in range(2))
    assert png(one) == png(again)


def test_a_pdf_has_no_date_and_the_same_figure_gives_the_same_bytes() -> None:
    one, again = (pdf(mcculloch_pitts.find(["a and b"]).figure) for _ in range(2))
    assert one == again
    assert b"CreationDate" not in one


def test_another_seed_is_another_figure() -> None:
    one, other = (perceptron.find(examples=20, gap=0.1, seed=seed) for seed in (0, 1))
    assert png(one.figure) != png(other.figure)
    assert one.fingerprint != other.fingerprint
    assert not np.array_equal(one.tables["points"], other.tables["points"])
