"""A recorded run trained again: the same bits, or what differs first."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from runs_fixtures import command, composed, files_below
from safetensors.numpy import load_file, save_file

from mlpexp.refusals import ConfigError
from mlpexp.reproduction import Comparison, compare, reproduce
from mlpexp.results import Result
from mlpexp.runner import run


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A run as it was recorded; `local` with one worker, so that reproducing it does what it does for a user."""
    outputs = tmp_path_factory.mktemp("original")
    return run(composed(f"outputs={outputs}", "model.depth=3", "measurements.every=2"), quiet=True)[0]


@pytest.fixture
def copy(original: Result, tmp_path: Path) -> Result:
    """A copy that may be tampered with."""
    return Result(Path(shutil.copytree(original.folder, tmp_path / "runs" / original.fingerprint)))


def again(result: Result, monkeypatch: pytest.MonkeyPatch) -> Comparison:
    """Reproduced in this process, which is quicker than in a worker."""
    config = result.config
    monkeypatch.setattr(Result, "config", config.model_copy(update={"executor": composed().executor}))
    return reproduce(result.fingerprint[:8], str(result.folder.parents[1]), quiet=True)


def test_an_untouched_record_has_the_same_bits_and_nothing_is_written(original: Result, tmp_path: Path) -> None:
    before = files_below(original.folder.parents[1])
    done = command("reproduce", original.fingerprint[:6], "--outputs", str(original.folder.parents[1]), cwd=tmp_path)
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0)
    assert done.stdout.startswith(
        f"{original.fingerprint} relu-d3-w8-he-adam-s0: the same bits (35 steps × 6 quantities"
    )
    assert files_below(original.folder.parents[1]) == before
    assert files_below(tmp_path) == []


def tamper(result: Result, column: str, row: int) -> None:
    """Change the last bit of one number of a record."""
    file = result.folder / "record.parquet"
    table = pq.read_table(file)
    place = table.column_names.index(column)
    values = table.column(column).to_numpy().copy()
    values[row] = np.nextafter(values[row], np.inf)
    blank = table.column(column).is_null().to_numpy()
    pq.write_table(table.set_column(place, column, pa.array(values, mask=blank)), file)


@pytest.mark.parametrize(
    ("column", "row", "told"),
    [
        ("delta_norm/layer_02", 6, "first at step 6: delta_norm of layer 2, "),
        ("loss/batch", 5, "first at step 5: loss/batch, "),
        ("accuracy/validation", 17, "first at step 17: accuracy/validation, "),
    ],
)
def test_one_changed_number_is_told_with_step_and_quantity(
    column: str, row: int, told: str, copy: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    tamper(copy, "loss/train", 34)  # a later difference is not the first
    tamper(copy, column, row)
    found = again(Result(copy.folder), monkeypatch)
    assert not found.equal
    assert found.lines[0] == f"{copy.fingerprint} relu-d3-w8-he-adam-s0 differs:"
    assert told in found.lines[1]
    assert len(found.lines) == 2


@pytest.mark.parametrize("which", ["best", "final"])
def test_changed_weights_are_told(which: str, copy: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    file = copy.folder / f"{which}.safetensors"
    weights = load_file(file)
    weights["layers.1.weight"][0, 0] += 1
    save_file(weights, file)
    found = again(Result(copy.folder), monkeypatch)
    assert not found.equal
    assert f"  {which} weights: 1 of 6 tensors differ, first layers.1.weight" in found.lines


def rewrite(result: Result, **changes: object) -> None:
    file = result.folder / "result.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_other_scores_another_end_and_other_circumstances_are_told(copy: Result, original: Result) -> None:
    facts = original.facts
    rewrite(copy, scores=facts["scores"] | {"loss/test": 7.0}, status="diverged", last_step=3)
    lines = compare(Result(copy.folder), original)
    assert lines[0] == "  end: diverged at step 3 then, finished at step 34 now"
    assert f"  loss/test: 7.0 then, {facts['scores']['loss/test']} now" in lines
    assert compare(original, original) == []


def test_other_data_and_numerics_are_told(copy: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = copy.facts
    rewrite(copy, data=facts["data"] | {"digest": "0" * 64}, numerics=facts["numerics"] | {"torch": "1.0"})
    lines = again(Result(copy.folder), monkeypatch).lines
    assert any(line.startswith("  data digits: digest 000000000000 then, ") for line in lines)
    assert any(line.startswith("  numerics, torch: 1.0 then, 2.") for line in lines)


def test_missing_rows_are_told(copy: Result, original: Result) -> None:
    file = copy.folder / "record.parquet"
    pq.write_table(pq.read_table(file).slice(0, 10), file)
    (line,) = compare(Result(copy.folder), original)
    assert "nothing then" in line


def test_a_diverged_run_has_the_same_bits_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = composed("optimizer=momentum", "optimizer.learning_rate=1e20", f"outputs={tmp_path}")
    (result,) = run([config, composed("seed=3", f"outputs={tmp_path}")], quiet=True)[:1]
    assert result.status == "diverged"
    assert again(result, monkeypatch).equal


@pytest.mark.parametrize("name", ["", "no such run", "../runs/", "*"])
def test_an_unknown_run_is_refused(name: str, copy: Result, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no run in .* begins with"):
        reproduce(name, str(tmp_path))


def test_an_ambiguous_prefix_is_refused_with_the_candidates(copy: Result, tmp_path: Path) -> None:
    twin = copy.fingerprint[:4] + "f" * 12
    shutil.copytree(copy.folder, copy.folder.parent / twin)
    with pytest.raises(ConfigError, match="2 runs begin with") as refused:
        reproduce(copy.fingerprint[:4], str(tmp_path))
    assert twin in str(refused.value)
    assert copy.fingerprint in str(refused.value)


def test_the_command_refuses_with_two(tmp_path: Path) -> None:
    done = command("reproduce", "0123", "--outputs", str(tmp_path), cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("mlpexp: no run in ")
    assert done.stdout == ""
