"""Looking at what is recorded: conditions, lists, pages, comparisons, tables."""

import csv
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from runs_fixtures import command

import mlpexp
from mlpexp.browse import comparison
from mlpexp.browse.choosing import chosen
from mlpexp.browse.page import page
from mlpexp.browse.selection import Condition, key_named, select, sort, varying
from mlpexp.browse.text_pictures import profile_lines, sparkline
from mlpexp.cli import main
from mlpexp.figures import png
from mlpexp.refusals import ConfigError
from mlpexp.results import Result, recorded
from mlpexp.run_index import rows


def printed(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert main(words) == code
    return capsys.readouterr().out


def test_a_damaged_run_is_listed_as_such_and_no_table_takes_it(
    browsed_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = next(iter(recorded(browsed_copy))).folder
    (folder / "result.json").write_text("{half")
    text = printed(capsys, "runs", "status=damaged", "--outputs", str(browsed_copy), "--columns", "folder,status")
    assert str(folder) in text
    with pytest.raises(ConfigError, match=f"{folder.name} is damaged"):
        mlpexp.load(browsed_copy)
    with pytest.raises(ConfigError, match="remove it, and the run trains again"):
        chosen(folder.name, rows(browsed_copy), browsed_copy)


# --- conditions ---

ROW = {"fingerprint": "ab", "status": "finished", "name": "tanh-d2", "model.depth": 2, "model.width": [64, 32]} | {
    "optimizer.name": "adam", "optimizer.learning_rate": 1e-3, "model.bias": True, "training.updates": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("word", "holds"),
    [
        ("model.depth=2", True), ("model.depth=2.0", True), ("model.depth=4,2", True), ("model.depth=4", False),
        ("model.depth!=2", False), ("model.depth!=3,4", True), ("optimizer.learning_rate=0.001", True),
        ("model.width=[64,32]", True), ("model.width=[64,33]", False), ("model.width=64", False),
        ("model.bias=true", True), ("model.bias=1", False), ("training.updates=null", True),
        ("name=tanh-*", True), ("name=relu-*", False), ("model.depth>=2", True), ("model.depth<2", False),
        ("optimizer.learning_rate<1e-2", True), ("training.updates>0", False), ("optimizer=adam", True),
    ],
)  # fmt: skip
def test_a_condition_compares_values_not_their_spelling(word: str, holds: bool, tmp_path: Path) -> None:
    assert bool(select([ROW], [word], tmp_path)) is holds


def test_a_condition_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="'depth' is no condition; write KEY=VALUE"):
        Condition.read("depth")
    with pytest.raises(ConfigError, match="compares with 'deep', which is no number"):
        Condition.read("model.depth<deep")
    with pytest.raises(ConfigError, match=r"no run has a modle\.depth; did you mean model\.depth\?"):
        key_named("modle.depth", list(ROW))


def test_runs_without_a_value_come_last_in_either_order() -> None:
    rows = [{"a": value} for value in (2, None, 10.5, float("nan"), "x", 1)]
    assert [row["a"] for row in sort(rows, ["a"])][:4] == [1, 2, 10.5, "x"]
    assert [row["a"] for row in sort(rows, ["-a"])][:4] == ["x", 10.5, 2, 1]


def test_sweeps_and_studies_select_their_runs(browsed_outputs: Path) -> None:
    assert set(mlpexp.load(browsed_outputs, sweep="1a2b3c4d")["model.depth"]) == {2}
    for name in ("depths", "depths/quick"):
        assert len(mlpexp.load(browsed_outputs, study=name)) == 2
    known = rows(browsed_outputs)
    assert len(select(known, ["sweep!=1a2b3c4d"], browsed_outputs)) == len(known) - 2
    with pytest.raises(ConfigError, match=r"no sweep is called '1a2b3c4e'; did you mean 1a2b3c4d\?"):
        select(known, ["sweep=1a2b3c4e"], browsed_outputs)


def test_what_varies_is_told_without_what_its_group_tells(browsed_outputs: Path) -> None:
    found = varying(rows(browsed_outputs))
    assert {"model.depth", "optimizer.name", "seed"} <= set(found)
    assert "optimizer.beta1" not in found


# --- mlpexp runs ---


def test_runs_lists_what_is_asked_for(
    browsed_outputs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)  # a pipe has room for every column
    place = ("--outputs", str(browsed_outputs))
    table = printed(capsys, "runs", *place).splitlines()
    assert len(table) == 1 + 5
    assert {"run", "depth", "optimizer", "seed", "status", "when"} <= set(table[0].split())
    found = printed(capsys, "runs", "status=finished", "--sort", "-loss/train", "--csv", *place)
    rows = list(csv.DictReader(io.StringIO(found)))
    losses = [float(row["loss/train"]) for row in rows]
    assert losses == sorted(losses, reverse=True)
    assert len(losses) == 4
    one = json.loads(printed(capsys, "runs", "status=diverged", "--json", "--columns", "status,loss/test", *place))
    assert one == [{"status": "diverged", "loss/test": None}]


def test_runs_fits_a_narrow_terminal_and_says_what_it_left_out(browsed_outputs: Path) -> None:
    done = command("runs", "--limit", "2", "--outputs", str(browsed_outputs), cwd=browsed_outputs, COLUMNS="80")
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "5 runs, 2 shown" in done.stderr
    assert "not shown for want of room: " in done.stderr


def test_runs_loads_nothing_heavy_once_the_index_is_made(browsed_outputs: Path) -> None:
    rows(browsed_outputs)
    heavy = ("torch", "mlflow", "pandas", "numpy", "pyarrow", "scipy", "hydra", "matplotlib")
    program = (
        "import sys\nfrom mlpexp.cli import main\nassert main(['runs', 'status=finished', '--csv']) == 0\n"
        f"print('LOADED', [n for n in {heavy} if n in sys.modules])"
    )
    done = command_of(program, browsed_outputs)
    assert done.splitlines()[-1] == "LOADED []"


def command_of(program: str, outputs: Path) -> str:
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "MLPEXP_OUTPUTS": str(outputs)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def test_runs_of_nothing_say_how_to_begin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "model.depth=2", "--outputs", str(tmp_path)]) == 0
    assert "train something: mlpexp train" in capsys.readouterr().err


# --- show and compare ---


def test_a_run_is_meant_by_fingerprint_prefix_name_or_folder(browsed_outputs: Path) -> None:
    known, one = rows(browsed_outputs), next(iter(recorded(browsed_outputs)))
    others = [row["fingerprint"] for row in known if row["fingerprint"] != one.fingerprint]
    prefix = next(p for n in range(1, 17) if not any(o.startswith(p := one.fingerprint[:n]) for o in others))
    for word in (one.fingerprint, prefix, one.name, str(one.folder)):
        assert chosen(word, known, browsed_outputs) == one
    with pytest.raises(ConfigError, match=f"did you mean {one.name}"):
        chosen(one.name + "9", known, browsed_outputs)
    with pytest.raises(ConfigError, match=r"5 runs are called ''.*, …; give a fingerprint"):
        chosen("", known, browsed_outputs)


def test_the_page_of_a_run_tells_it_whole(browsed_outputs: Path) -> None:
    one = mlpexp.load(browsed_outputs, sweep="1a2b3c4d", where="seed=1")["folder"][0]
    text = "\n".join(lines := list(page(Result(Path(one)), browsed_outputs)))
    assert max(len(line) for line in lines if not line.startswith(("again", "files"))) <= 80
    assert "model.depth" in text
    assert "(4)" in text  # the default
    assert f"{Result(Path(one)).scores['accuracy/test']:.4g}" in text
    assert "of the signal of layer 2" in text
    assert "study depths/quick" in text
    assert "refuted" in text
    assert "record.parquet" in text
    assert "optimizer.name" not in text  # as it is by default


def test_the_page_of_a_diverged_run_says_when(browsed_outputs: Path) -> None:
    (folder,) = mlpexp.load(browsed_outputs, where="status=diverged")["folder"]
    assert "diverged at step" in list(page(Result(Path(folder)), browsed_outputs))[1]


def test_a_comparison_shows_only_what_differs(browsed_outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = mlpexp.load(browsed_outputs, where={"seed": 0, "optimizer": "adam"})
    runs = [Result(Path(folder)) for folder in table["folder"]]
    rows = dict(comparison.lines(runs))
    config = [name for name in rows if name.startswith(("model.", "data.", "optimizer.", "training.", "seed"))]
    assert config == ["model.depth"]
    assert rows["model.depth"] == [str(one.config.model.depth) for one in runs]
    assert rows["loss/test"] == [f"{one.scores['loss/test']:.4g}" for one in runs]
    text = printed(capsys, "compare", *table["fingerprint"], "--outputs", str(browsed_outputs))
    assert "model.depth" in text
    assert main(["compare", table["fingerprint"][0], "--outputs", str(browsed_outputs)]) == 2


def test_a_sparkline_rises_and_falls_with_its_curve() -> None:
    assert sparkline(np.arange(8.0), 8) == "▁▂▃▄▅▆▇█"
    assert sparkline(np.array([1.0, np.nan, 1.0]), 3) == "▁·▁"
    assert sparkline(np.array([]), 5) == ""
    assert len(sparkline(np.arange(1000.0), 40)) == 40


def test_a_profile_has_bars_as_long_as_its_logarithms() -> None:
    lines = profile_lines({"start": np.array([1e-3, 1e-1, 1.0]), "end": np.array([0.0, np.inf, 1.0])}, 80)
    bars = [line.count("█") for line in profile_lines({"start": np.array([1e-3, 10**-1.5, 1.0])}, 80)]
    assert bars[2:4] == [20, 40]  # half of three decades, and all of them
    assert len(lines) == 1 + 3 + 1
    assert profile_lines({"start": np.zeros(3)}, 80) == []


# --- tables ---


def test_load_leaves_out_what_is_constant_if_asked(browsed_outputs: Path) -> None:
    table = mlpexp.load(browsed_outputs, where=["status=finished"], constant=False)
    assert [name for name in table.columns if name.startswith(("model.", "optimizer.", "training.", "data."))] == [
        "model.depth"
    ]
    assert {"fingerprint", "status", "seed", "loss/test", "folder"} <= set(table.columns)


def test_records_stand_at_their_run_step_and_layer(browsed_outputs: Path) -> None:
    table = mlpexp.load(browsed_outputs)
    dataset = mlpexp.load_records(table)
    assert dict(dataset.sizes) == {"run": 5, "step": 35, "layer": 3}
    for folder in table["folder"]:
        one = Result(Path(folder))
        mine = dataset.sel(run=one.fingerprint, step=one.record.steps)
        depth = one.config.model.depth
        for name in one.record.quantities:
            assert np.array_equal(mine[name].values[:, :depth], one.record[name].astype(float), equal_nan=True)
            assert np.isnan(mine[name].values[:, depth:]).all()
        assert np.array_equal(mine["loss/train"], one.record["loss/train"], equal_nan=True)
        assert mine["model.depth"] == depth
    alone = mlpexp.load_records([Result(Path(table["folder"][0]))], quantities=["delta_norm"], keys=["model.width"])
    assert list(alone.data_vars) == ["delta_norm"]
    with pytest.raises(ConfigError, match="delta_nrom was not recorded"):
        mlpexp.load_records(table, quantities=["delta_nrom"])


def test_a_run_draws_itself(browsed_outputs: Path) -> None:
    for one in recorded(browsed_outputs):
        figure = one.plot()
        curves, profile = figure.axes
        loss = next(line for line in curves.lines if line.get_label() == "loss/train")
        known = np.isfinite(one.record["loss/train"])
        assert np.array_equal(loss.get_ydata(), one.record["loss/train"][known])
        assert np.array_equal(profile.lines[0].get_ydata(), one.record["delta_norm"][0])
        assert figure._repr_png_() == png(one.plot())
