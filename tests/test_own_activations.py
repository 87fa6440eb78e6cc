"""A file of the user's own as an activation: its text is the run, its path is not; it trains like one of ours."""

import pickle
import subprocess
import sys
from pathlib import Path

import histories
import pytest
import reference
import torch
from activation_texts import GOOD, HEAD, MISH
from runs_fixtures import SMALL, command, compose, everything, files_below
from torch.nn import functional

from mlpexp import composition
from mlpexp.activation_schema import ACTIVATION_NAMES
from mlpexp.browse.tables import load
from mlpexp.cohorts import cohort_key
from mlpexp.config import fingerprint, validate
from mlpexp.kernel.own_activation import own_activation
from mlpexp.lanes import build
from mlpexp.modules import Own, Perceptron
from mlpexp.own_activations import check, mistakes_of
from mlpexp.refusals import ConfigError
from mlpexp.reproduction import reproduce
from mlpexp.results import Result
from mlpexp.runner import run


@pytest.fixture
def mish(tmp_path: Path) -> Path:
    file = tmp_path / "files" / "mish.py"
    file.parent.mkdir()
    file.write_text(MISH)
    return file


def name(*overrides: str) -> str:
    return fingerprint(composition.compose(overrides), "0" * 64)


# --- its text is the run ---


def test_the_text_changes_the_name_and_the_path_does_not(mish: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = name(f"model.activation={mish}")
    assert first != name("model.activation=relu")
    other = mish.with_name("another name.py")
    other.write_bytes(MISH.replace("\n", "\r\n").encode())
    assert name(f"model.activation='{other}'") == first
    monkeypatch.chdir(mish.parent)
    assert name("model.activation=mish.py") == first
    assert composition.compose(["model.activation=mish.py"]).model.activation == str(mish)
    mish.write_text(MISH + "# another text\n")
    assert name("model.activation=mish.py") != first


def test_files_of_ones_own_share_cohorts_with_other_activations(mish: Path) -> None:
    keys = [cohort_key(composition.compose([f"model.activation={name}"])) for name in (mish, "relu")]
    assert keys[0] == keys[1]


def test_a_record_keeps_the_text_and_nothing_shown_does(mish: Path) -> None:
    config = composition.compose([f"model.activation={mish}"])
    mish.unlink()
    again = validate(config.record())
    assert again.model == config.model
    assert again.model.activation_sources == {str(mish): MISH}
    assert fingerprint(again, "") == fingerprint(config, "")
    assert f"model.activation={mish}" in config.command()
    shown = repr([config.command(), config.shown(), config.flat()])
    assert "tanh_of_softplus" not in shown
    assert "activation_sources" not in shown
    assert str(config.flat()["model.activation"]).startswith("mish@")


def test_composing_runs_nothing_and_loads_no_torch(mish: Path, tmp_path: Path) -> None:
    mish.write_text("raise SystemExit('this file was run')")
    program = f"import sys, mlpexp; mlpexp.compose(['model.activation={mish}']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# --- it trains like one of ours ---


@pytest.mark.parametrize("ours", ACTIVATION_NAMES)
def test_the_same_formula_in_a_file_of_ones_own_has_the_same_bits(ours: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "import torch\n"
        f"from mlpexp.kernel.activations import {ours} as ours\n"
        "def value(z): return ours.value(z, torch.empty_like(z))\n"
        "def derivative(z, x): return ours.derivative(z, x, torch.empty_like(z))\n"
    )
    point = (*SMALL, "model.depth=3", "initialisation=lecun")
    mine, theirs = (
        composition.compose([*point, f"model.activation={file}"]),
        compose(*point, f"model.activation={ours}"),
    )
    assert check(str(file), file.read_text()) == []
    found = [histories.of(*build([config]))[0] for config in (mine, theirs)]
    assert histories.differences(*found) == []


def test_its_gradient_is_torchs(mish: Path) -> None:
    own = own_activation(MISH, str(mish))
    z = torch.linspace(-9, 9, 501, dtype=torch.float64).requires_grad_()
    twin = functional.mish(z)
    x = own.value(z.detach(), torch.empty_like(z))
    torch.testing.assert_close(x, twin.detach(), rtol=1e-13, atol=1e-15)
    (slopes,) = torch.autograd.grad(twin.sum(), z)
    torch.testing.assert_close(own.derivative(z.detach(), x, torch.empty_like(x)), slopes, rtol=1e-11, atol=1e-14)


def test_a_recorded_run_needs_the_file_no_more(mish: Path, tmp_path: Path) -> None:
    """Trained in worker processes, then read, loaded and trained again after the file has changed and has gone."""
    local = [key for key in SMALL if not key.startswith("executor")]
    point = [*local, f"model.activation={mish}", "replicates=2", "executor.workers=2", f"outputs={tmp_path / 'out'}"]
    results = run(composition.compose(point), quiet=True)
    serial = run(composition.compose([*point, "executor=serial", f"outputs={tmp_path / 'serial'}"]), quiet=True)
    assert [everything(a) == everything(b) for a, b in zip(results, serial, strict=True)] == [True, True]
    assert [result.name for result in results] == [f"{results[0].condition}-s{seed}" for seed in (0, 1)]
    assert results[0].condition.startswith("mish@")
    mish.write_text("raise SystemExit('this is another file')")
    comparison = reproduce(results[0].fingerprint, str(tmp_path / "out"), quiet=True)
    assert comparison.equal, comparison.lines
    mish.unlink()
    assert reproduce(results[0].fingerprint, str(tmp_path / "out"), quiet=True).equal
    inputs = torch.rand(5, 64)
    network = Result(results[0].folder).network()
    hidden = functional.mish(network.layers[0](((inputs.double() - network.centre) / network.scale).float()))
    torch.testing.assert_close(network.logits(inputs), network.layers[1](hidden), rtol=1e-5, atol=1e-5)
    table = load(tmp_path / "out")
    assert set(table["model.activation"]) == {results[0].condition.split("-")[0]}


def test_a_sweep_takes_it_beside_ours(mish: Path) -> None:
    words = ["sweep", *SMALL, "model.activation=relu,mish.py", "training.epochs=1"]
    done = command(*words, cwd=mish.parent)
    assert done.returncode == 0, done.stderr
    (table,) = mish.parent.rglob("points.csv")
    assert "mish@" in table.read_text()
    assert command(*words, "--plan", cwd=mish.parent).stdout.splitlines()[1] == "2 runs are recorded already"


# --- as a torch module ---


@pytest.mark.parametrize("ours", ACTIVATION_NAMES)
def test_the_module_of_an_activation_is_ours_in_value_and_gradient(ours: str) -> None:
    config = compose("training.dtype=float64", "model.depth=3", "model.width=7", f"model.activation={ours}")
    network = Perceptron([64, 7, 7, 10], config, "softmax")
    z = torch.linspace(-60, 60, 2402, dtype=torch.float64).requires_grad_()  # zero is not among them
    twin = reference.activation(ours)(z)
    found = network.activations[0](z)
    torch.testing.assert_close(found, twin, rtol=1e-12, atol=1e-15)
    (slopes,), (expected,) = torch.autograd.grad(found.sum(), z), torch.autograd.grad(twin.sum(), z)
    torch.testing.assert_close(slopes, expected, rtol=1e-10, atol=1e-13)


def test_a_network_with_its_own_activation_can_be_pickled(mish: Path) -> None:
    own = pickle.loads(pickle.dumps(Own(MISH, str(mish))))
    z = torch.linspace(-3, 3, 9)
    assert torch.equal(own(z), Own(MISH, str(mish))(z))
    assert "mish.py" in repr(own)


# --- files that are refused ---


def test_a_refused_file_is_told_before_anything_is_written(mish: Path) -> None:
    (mish.parent / "flat.py").write_text(f"{HEAD}print('printed')\ndef value(z): return z * z\n{GOOD}")
    done = command("train", "tracking=none", "model.activation=flat.py", cwd=mish.parent)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        f"mlpexp: model.activation={mish.parent / 'flat.py'}: its derivative is not that of its value"
    )
    assert files_below(mish.parent) == ["flat.py", "mish.py"]


def test_a_check_that_kills_its_process_is_told(mish: Path) -> None:
    mish.write_text("import os; os._exit(7)")
    (line,) = mistakes_of([composition.compose([f"model.activation={mish}"])])
    assert line == f"model.activation={mish}: its check ended with code 7: without a word"


def test_files_that_cannot_be_read_are_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "latin.py").write_bytes("# é".encode("latin-1"))
    reasons = {
        "folder.py": "Is a directory",
        "latin.py": "it is no text in UTF-8",
        "none.py": "No such file or directory",
    }
    for file, reason in reasons.items():
        with pytest.raises(ConfigError, match=f"{file} cannot be read \\({reason}\\)"):
            composition.compose([f"model.activation={tmp_path / file}"])


def test_a_text_without_its_file_is_refused(mish: Path) -> None:
    config = composition.compose([f"model.activation={mish}"]).record()
    config["model"]["activation"] = "relu"
    with pytest.raises(ConfigError, match=r"model\.activation_sources is filled in by itself"):
        validate(config)


def test_parameters_of_ours_are_not_its(mish: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.alpha=2 belongs to elu, but model\.activation is .*mish\.py"):
        composition.compose([f"model.activation={mish}", "model.alpha=2"])
