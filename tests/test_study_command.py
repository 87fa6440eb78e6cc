"""`mlpexp study` from one's own folder: the same runs give the same bytes, also after kill -9, unpacked, or redrawn."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from runs_fixtures import command

from mlpexp import display, study_command
from mlpexp.cli import main
from mlpexp.study import Manifest, composed
from mlpexp.study_all import read_claims, time_left
from mlpexp.study_definition import all_studies, open_study

SLUG = "my_question"
SMOKE = ("study", SLUG, "--size", "smoke", "executor=serial")
"""The study that `--new` begins: digits, three widths, a few seconds."""


def outcome(outputs: Path) -> dict[str, bytes]:
    """Every file of the figure's folder."""
    (folder,) = (file.parent for file in (outputs / "studies" / SLUG).glob("*/runs.json"))
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir()) if not file.name.startswith(".")}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reader's own folder with a study that was run there, in a process of its own."""
    folder = tmp_path_factory.mktemp("home")
    done = command("study", "--new", SLUG, cwd=folder)
    assert done.returncode == 0, done.stderr
    done = command(*SMOKE, cwd=folder, timeout=300)
    assert done.returncode == 0, done.stderr
    (folder / "said.txt").write_text(done.stdout)
    return folder


@pytest.fixture
def here(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In that folder, with its outputs."""
    monkeypatch.chdir(home)
    monkeypatch.setenv("MLPEXP_OUTPUTS", str(home / "outputs"))
    return home


def test_it_ends_with_verdict_picture_and_the_line_that_opens_the_dashboard(home: Path) -> None:
    said = (home / "said.txt").read_text().splitlines()
    assert said[0] == "Does a wider hidden layer classify digits better?"
    assert any(line.startswith("undecided: the widest network classifies better") for line in said)
    assert any(line.startswith("verdict: ") for line in said)
    (picture,) = (line.split()[1] for line in said if line.startswith("picture: "))
    assert Path(picture).read_bytes().startswith(b"\x89PNG")
    assert said[-1] == "look at them in the dashboard: mlpexp ui"


def test_the_figure_lies_beside_its_data_caption_provenance_and_claims(home: Path) -> None:
    files = outcome(home / "outputs")
    assert set(files) == {f"{SLUG}.{kind}" for kind in ("pdf", "png", "csv", "txt", "json")} | {
        "claims.json",
        "runs.json",
    }
    provenance = json.loads(files[f"{SLUG}.json"])
    assert provenance["config"].encode() in files[f"{SLUG}.pdf"]
    assert provenance["commit"] is None or provenance["commit"].encode()[:12] not in files[f"{SLUG}.pdf"]
    runs = [run for row in provenance["rows"] for run in row["runs"]]
    assert len(runs) == 9
    assert all((home / "outputs" / "runs" / run / "result.json").exists() for run in [*runs, *provenance["searched"]])
    assert str(home) not in "".join(content.decode(errors="replace") for content in files.values())
    caption = files[f"{SLUG}.txt"].decode()
    assert "95 % intervals over 3 training seeds at a fixed split" in caption
    assert "optimizer.learning_rate from {0.001" in caption
    assert caption.endswith(" Data: digits, 1077 training examples.\n")
    assert files[f"{SLUG}.csv"].startswith(b"panel,series,kind,x,value,low,high\n")


def test_scored_seeds_are_none_of_those_that_the_learning_rate_was_picked_with(home: Path) -> None:
    manifest = json.loads(outcome(home / "outputs")["runs.json"])
    scored = {run for row in manifest["rows"] for run in row["runs"]}
    assert not scored & set(manifest["searched"])
    assert len(manifest["searched"]) == 15


def test_the_same_question_in_another_place_gives_the_same_bytes(here: Path, tmp_path: Path) -> None:
    assert main([*SMOKE, f"outputs={tmp_path}", "tracking=none", "rerun=true"]) == 0
    assert outcome(tmp_path) == outcome(here / "outputs")


def test_asked_again_nothing_is_trained_and_nothing_changes(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = outcome(here / "outputs")
    for words in ((), ("--figure-only",), ("--check",)):
        assert main([*SMOKE, *words]) == 0
        assert "training" not in capsys.readouterr().err
    assert outcome(here / "outputs") == before


def test_check_tells_what_the_runs_do_not_give(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (file,) = (here / "outputs" / "studies" / SLUG).glob(f"*/{SLUG}.csv")
    before = file.read_bytes()
    file.write_bytes(before + b"more\n")
    assert main([*SMOKE, "--check"]) == 1
    assert f"{file} is not what the runs give" in capsys.readouterr().out
    file.write_bytes(before)
    assert main([*SMOKE, "--check"]) == 0


def test_a_slide_lies_beside_the_column(here: Path) -> None:
    assert main([*SMOKE, "--figure-only", "--format", "beamer"]) == 0
    files = outcome(here / "outputs")
    assert files[f"{SLUG}-beamer.pdf"] != files[f"{SLUG}.pdf"]
    for file in (here / "outputs" / "studies" / SLUG).glob("*/*-beamer.*"):
        file.unlink()


def test_runs_figure_and_verdicts_are_in_mlflow_under_the_studys_name(here: Path) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{here / 'outputs' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(SLUG)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    fingerprints = {run.data.tags["mlpexp.fingerprint"] for run in runs if "mlpexp.fingerprint" in run.data.tags}
    (folder,) = (file.parent for file in (here / "outputs" / "studies" / SLUG).glob("*/runs.json"))
    manifest = Manifest.read(folder)
    assert manifest is not None
    assert fingerprints == set(manifest.fingerprints)
    (figure,) = [run for run in runs if run.data.tags.get("mlpexp.study") == f"{SLUG}/smoke"]
    assert figure.data.tags["mlpexp.verdict"] == "undecided"
    assert figure.data.tags["mlpexp.claim.wider_is_better"].startswith("undecided: ")
    artifacts = {file.path for file in client.list_artifacts(figure.info.run_id)}
    assert {f"{SLUG}.png", f"{SLUG}.pdf", f"{SLUG}.csv", "claims.json"} <= artifacts


def test_killed_in_the_middle_it_goes_on_to_the_same_bytes(home: Path, tmp_path: Path) -> None:
    subprocess.run(["cp", "-r", str(home / "experiments"), str(tmp_path)], check=True)
    environment = {**os.environ, "MLPEXP_OUTPUTS": "outputs"}
    words = [sys.executable, "-m", "mlpexp", *SMOKE, "tracking=none"]
    process = subprocess.Popen(words, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    runs = tmp_path / "outputs" / "runs"
    deadline = time.monotonic() + 120
    while not list(runs.glob("[!.]*/result.json")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    recorded = len(list(runs.glob("[!.]*/result.json")))
    assert 0 < recorded < 24, "it was killed in the middle"
    done = command(*SMOKE, "tracking=none", cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr
    assert outcome(tmp_path / "outputs") == outcome(home / "outputs")


def test_a_pack_is_redrawn_elsewhere_without_training(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = tmp_path / "my_question.zip"
    assert main([*SMOKE, "--pack", str(pack)]) == 0
    first = pack.read_bytes()
    assert main([*SMOKE, "--pack", str(pack)]) == 0
    assert pack.read_bytes() == first, "the same study gives the same pack"
    there = tmp_path / "co-author"
    there.mkdir()
    done = command("study", SLUG, "--unpack", str(pack), cwd=there)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "redrawn: the same bytes"
    assert "training" not in done.stderr
    assert outcome(there / "outputs") == outcome(here / "outputs")


def damaged(pack: Path) -> None:
    content = bytearray(pack.read_bytes())
    place = content.find(b"PAR1") + 200
    content[place] ^= 0xFF
    pack.write_bytes(bytes(content))


def reaching_out(pack: Path) -> None:
    with zipfile.ZipFile(pack, "a") as archive:
        archive.writestr("runs/../../outside", b"")


def empty(pack: Path) -> None:
    with zipfile.ZipFile(pack, "w"):
        pass


@pytest.mark.parametrize(
    ("spoil", "reason"), [(damaged, "is damaged"), (reaching_out, "no packed study"), (empty, "no packed study")]
)
def test_a_bad_pack_is_refused_and_leaves_nothing(
    spoil: object, reason: str, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    pack = tmp_path / "pack.zip"
    assert main([*SMOKE, "--pack", str(pack)]) == 0
    assert callable(spoil)
    spoil(pack)
    there = tmp_path / "there"
    there.mkdir()
    monkeypatch.chdir(there)
    monkeypatch.setenv("MLPEXP_OUTPUTS", str(there / "outputs"))
    assert main(["study", SLUG, "--unpack", str(pack)]) == 2
    assert reason in capsys.readouterr().err
    assert list(there.iterdir()) == []


def test_freezing_tells_before_from_after(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    subprocess.run(["cp", "-r", str(home / "experiments"), str(tmp_path)], check=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLPEXP_OUTPUTS", str(tmp_path / "outputs"))

    def said(*words: str) -> str:
        assert main([*SMOKE, *words]) == 0
        return capsys.readouterr().out

    assert "were fixed before the runs" in said("--freeze")
    subprocess.run(["cp", "-r", str(home / "outputs" / "runs"), str(tmp_path / "outputs")], check=True)
    assert "were fixed before the runs" in said()
    figure = tmp_path / "experiments" / SLUG / "figure.py"
    drawn_otherwise = figure.read_text().replace('"accuracy")', '"accuracy, test")')
    figure.write_text(drawn_otherwise)
    assert "were fixed before the runs" in said("--figure-only"), "a drawing decides nothing"
    figure.write_text(drawn_otherwise.replace("MARGIN = 0.02", "MARGIN = 0.01"))
    assert "changed after 24 runs" in said("--figure-only")
    assert "changed after 24 runs" in said("--freeze")


def test_runs_of_another_design_are_not_drawn_as_this_ones(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    subprocess.run(["cp", "-r", str(home / "experiments"), str(home / "outputs"), str(tmp_path)], check=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLPEXP_OUTPUTS", str(tmp_path / "outputs"))
    file = tmp_path / "experiments" / SLUG / "study.yaml"
    file.write_text(file.read_text().replace("training.epochs: 1}", "training.epochs: 2}"))
    assert main([*SMOKE, "--figure-only"]) == 2
    assert "holds runs of another design of it" in capsys.readouterr().err


def test_the_list_tells_questions_and_progress_from_yaml_alone(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mlpexp.composition.Composer.config", None)  # composing all points takes seconds
    assert main(["study", "--list", "--size", "smoke"]) == 0
    said = capsys.readouterr().out
    assert f"{SLUG}  24 of 24 runs, done" in said
    assert "Does a wider hidden layer classify digits better?" in said
    assert "action_potential  computed, trains nothing" in said
    assert re.search(r"vanishing_gradients  \d+ runs, not timed yet", said), "not run here at this size"
    assert main(["study", "--list"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("vanishing_gradients")]
    assert re.fullmatch(r"vanishing_gradients  820 runs, (under a minute|about \d+ min)", line), "as in the gallery"


def test_the_list_counts_the_runs_that_a_study_composes() -> None:
    study = open_study("optimizers", "smoke")
    with composed(study) as needed:
        assert study.run_count == sum(config.replicates for config in [*needed.configs, *needed.searched])


def test_an_override_is_another_figure(here: Path) -> None:
    before = outcome(here / "outputs")
    assert main([*SMOKE, "width.model.width=4", "--freeze"]) == 0
    assert main(["study", SLUG, "--size", "smoke", "--check", "executor=serial"]) == 0
    assert outcome(here / "outputs") == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("vanishing_gradient",), "there is no study vanishing_gradient; did you mean vanishing_gradients?"),
        ((SLUG, "model.depht=3"), "model.depht is no known key; did you mean model.depth?"),
        ((SLUG, "--size", "smoke", "model.depth=0"), "model.depth must be at least 1, got 0"),
        ((SLUG, "--size", "paper", "--figure-only"), f"`mlpexp study {SLUG} --size paper` trains what is missing"),
        (
            ("vanishing_gradients", "model.activation=tanh"),
            "accuracy differ in model.activation (sigmoid/Glorot, Adam: sigm",
        ),
        (
            ("countermeasures", "model.skip=true"),
            "conditions of depths differ in model.skip (Adam: as in keys; skip + fi",
        ),
        (("--new", SLUG), "exists already; choose another name"),
        (("--new", "My Question"), "a study's name has small letters"),
        ((), "which study?"),
        ((SLUG, "--unpack", "missing.zip"), "cannot be read as a packed study"),
    ],
)
def test_a_mistake_is_told_in_a_line(
    words: tuple[str, ...], said: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_all_studies_end_with_a_table_of_verdicts_and_one_that_fails_stops_no_other(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = here / "broken" / "a_failing_one"
    shutil.copytree(here / "experiments" / SLUG, broken)
    file = broken / "figure.py"
    file.write_text(file.read_text().replace("def claims", "def no_claims"))
    monkeypatch.setattr(study_command, "all_studies", lambda: [broken, here / "experiments" / SLUG])
    assert main(["study", "--all", "--size", "smoke", "executor=serial", "tracking=none"]) == 1
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[0].startswith("a_failing_one: study 1 of 2, ")
    (second,) = [line for line in lines if line.startswith(f"{SLUG}: study 2 of 2, ")]
    assert second.endswith(" left in all")
    assert "defines no claims(table)" in said.err
    head, failed, row, counts = lines[-4:]
    assert [word.strip() for word in head.split("  ") if word] == ["study", "claim", "verdict", "number [interval]"]
    assert failed.split()[:2] == ["a_failing_one", "failed"]
    (folder,) = (one.parent for one in (here / "outputs" / "studies" / SLUG).glob("smoke/claims.json"))
    (claim,) = read_claims(folder / "claims.json")
    assert row.split(maxsplit=3) == [SLUG, claim.name, claim.verdict, claim.number()]
    assert f"[{claim.low:.3g}, {claim.high:.3g}]" in row
    assert counts == "2 claims: 1 undecided, 1 failed"
    assert "training" not in said.err, "what is recorded is taken as it is"


def test_progress_on_the_whole_stands_before_that_of_a_study(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(study_command, "all_studies", lambda: [here / "experiments" / SLUG])
    monkeypatch.setattr(display, "PLAIN_SECONDS", 0.0)
    assert main(["study", "--all", "--size", "smoke", "executor=serial", "tracking=none", f"outputs={tmp_path}"]) == 0
    (first, *_) = (line for line in capsys.readouterr().err.splitlines() if "run-steps" in line)
    assert first.startswith(f"{SLUG}, study 1 of 1, ")
    assert " left in all: " in first


def test_a_study_that_refuses_the_words_of_all_is_left_out_and_told(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [folder for folder in all_studies() if folder.name in ("action_potential", SLUG)]
    monkeypatch.setattr(study_command, "all_studies", lambda: folders)
    words = ["executor=serial", "tracking=none", "training.epochs=1"]
    assert main(["study", "--all", "--size", "smoke", *words]) == 1
    said = capsys.readouterr()
    assert "action_potential is left out: training.epochs=1: action_potential trains nothing" in said.err
    assert said.out.splitlines()[-1] == "2 claims: 1 undecided, 1 failed"
    assert main(["study", "--all", "--size", "smoke", "model.depht=1"]) == 2, "nobody takes it"


def test_an_override_of_what_conditions_have_in_common_reaches_them_all(tmp_path: Path) -> None:
    folder = tmp_path / "alike"
    folder.mkdir()
    conditions = "{a: {training.epochs: 3, model.depth: 2}, b: {training.epochs: 3}}"
    text = f"question: '?'\ncaption: '.'\nkeys: {{data: digits}}\nparts: {{one: {{conditions: {conditions}}}}}"
    (folder / "study.yaml").write_text(text)
    points = open_study(str(folder), words=["training.epochs=1"]).points()
    assert [[word for word in point.overrides if "epochs" in word] for point in points] == [["training.epochs=1"]] * 2


def test_time_left_is_corrected_by_the_pace_so_far() -> None:
    assert time_left([10.0, 30.0], 0, 0.0) == 40.0
    assert time_left([10.0, 30.0], 1, 20.0) == 60.0
    assert time_left([1.0, 30.0], 1, 20.0) == 30.0, "a second of planned training tells nothing of the pace"
    assert time_left([10.0, 30.0], 2, 99.0) == 0.0
