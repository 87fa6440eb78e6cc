"""The table of what measuring costs: whoever measures a part of it keeps the rest."""

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

THROUGHPUT = Path(__file__).parents[1] / "experiments" / "throughput"


def row(width: int, variant: str, factor: str, activation: str = "tanh") -> tuple[str, ...]:
    return str(width), activation, "4", variant, factor, "1.000"


BEFORE = [row(width, variant, "old") for width in (16, 64, 256) for variant in ("bare", "gone", "delta_norm")]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script as a module."""
    monkeypatch.syspath_prepend(str(THROUGHPUT))
    return import_module("measurement_cost")


def test_a_shape_that_is_measured_anew_takes_the_place_of_its_rows_alone(script: Any) -> None:
    found = [row(64, "bare", "new"), row(64, "delta_norm", "new")]
    assert script.merged(BEFORE, found, whole=True) == [*BEFORE[:3], *found, *BEFORE[6:]]
    relu = [row(64, "bare", "new", "relu")]
    assert script.merged(BEFORE, relu, whole=True) == [*BEFORE, *relu]
    assert script.merged([], found, whole=True) == found


def test_variants_that_are_measured_alone_leave_the_others_of_their_shape(script: Any) -> None:
    found = [row(64, "bare", "new"), row(64, "delta_norm", "new")]
    assert script.merged(BEFORE, found, whole=False) == [*BEFORE[:3], row(64, "gone", "old"), *found, *BEFORE[6:]]


def test_the_table_that_is_read_is_the_table_that_was_written(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = script.read()
    monkeypatch.setattr(script, "TABLE", tmp_path / "table.csv")
    assert script.read() == []
    script.write(rows)
    assert script.read() == rows
    assert (tmp_path / "table.csv").read_bytes() == (THROUGHPUT / "measurement_cost.csv").read_bytes()


def test_a_part_that_is_asked_for_leaves_the_rest_of_the_table(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "TABLE", tmp_path / "table.csv")
    monkeypatch.setattr(script, "prepare_process", lambda: None)
    monkeypatch.setattr(script, "epoch_of", lambda *_: None)
    monkeypatch.setattr(script, "backpack", lambda *_: {})
    monkeypatch.setattr(script, "ratios", lambda *_: iter([("bare", 1.0, 2.0)]))
    script.write(BEFORE)
    monkeypatch.setattr("sys.argv", ["measurement_cost.py", "--widths", "64", "--activations", "tanh"])
    script.main()
    found = ("64", "tanh", "16", "bare", "1.000", "2.000")
    assert script.read() == [*BEFORE[:3], *BEFORE[4:6], found, *BEFORE[6:]]
