"""`mlpexp measurements`: every quantity is in the list, and one is shown in full."""

import importlib
from pathlib import Path

import pytest

from mlpexp.cli import main
from mlpexp.kernel import calibration
from mlpexp.kernel.measurements import QUANTITIES
from mlpexp.measurement_catalogue import CATALOGUE

ROOT = Path(__file__).resolve().parent.parent


def test_the_list_names_every_quantity(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["measurements"]) == 0
    told = capsys.readouterr().out
    assert [name for name in CATALOGUE if name not in told] == []
    assert "* delta_norm" in told


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_quantity_is_shown_in_full(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    assert main(["measurements", name]) == 0
    told, one = capsys.readouterr().out, CATALOGUE[name]
    assert all(part in told for part in (one.description, one.unit, one.shape, one.source, one.file, one.kind))


def test_an_unknown_quantity_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["measurements", "sharpnes"]) == 2
    assert "did you mean sharpness?" in capsys.readouterr().err


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_quantity_is_defined_where_the_catalogue_says(name: str) -> None:
    file = CATALOGUE[name].file
    module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
    assert (ROOT / file).exists()
    if name in QUANTITIES:
        assert getattr(module, name) is QUANTITIES[name]
    else:
        assert module is calibration
