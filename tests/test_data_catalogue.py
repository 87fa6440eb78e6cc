"""The catalogue against the sets themselves, descriptions, and the schema against the YAML files."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from mlpexp.data import DataError, load
from mlpexp.data.catalogue import Entry, catalogue_rows, default_config, describe, install_command
from mlpexp.data.pictures import WIDTH, images, ranges, scatter, signals
from mlpexp.data.prepare import SOURCES
from mlpexp.data_schema import Split

CONF = Path(__file__).parent.parent / "conf" / "data"
YOURS = {"table": {"path": "t.csv", "target": "y"}, "idx": {"path": "folder"}}


def test_every_source_is_in_the_catalogue_and_has_a_file_of_values() -> None:
    assert [entry.name for entry in catalogue_rows()] == list(SOURCES)
    assert {file.stem for file in CONF.glob("*.yaml")} == set(SOURCES)


@pytest.mark.parametrize("name", SOURCES)
def test_the_values_in_yaml_are_the_defaults_of_the_schema(name: str) -> None:
    values = yaml.safe_load((CONF / f"{name}.yaml").read_text(encoding="utf-8"))
    given = {key: value for key, value in YOURS.get(name, {}).items() if values.pop(key) == "???"}
    default = default_config(name, **YOURS.get(name, {}))
    assert values.pop("name") == name
    assert default_config(name, **values, **given) == default
    assert {"name", *values, *given} == set(type(default).model_fields)
    assert set(values["split"]) == set(Split.model_fields)


@pytest.mark.parametrize("entry", catalogue_rows(), ids=lambda entry: entry.name)
def test_the_catalogue_tells_the_truth(entry: Entry) -> None:
    if entry.name in YOURS:
        return
    if not entry.installed:
        pytest.skip(f"{entry.name} is not installed; `{entry.install}` lifts this")
    dataset = load(default_config(entry.name))
    rows = [int(number) for number in entry.rows.replace("*", "").split("+")]
    assert sum(rows) == len(dataset.targets)
    assert (rows[1] if len(rows) > 1 else 0) == dataset.official_test
    assert int(entry.features.strip(" *")) == dataset.inputs
    assert entry.task.strip(" *") == dataset.task
    assert entry.classes.strip(" *") == (str(len(dataset.classes)) if dataset.classes else "–")
    assert entry.licence == dataset.licence


@pytest.mark.parametrize("name", [name for name in SOURCES if name not in YOURS])
def test_every_set_can_be_described(name: str) -> None:
    if command := install_command(name):
        pytest.skip(f"{name} is not installed; `{command}` lifts this")
    description = describe(name)
    lines = description.lines()
    assert lines[0] == name
    assert max(map(len, lines)) <= 110
    assert description.picture
    dataset = load(default_config(name))
    assert [row[0] for row in description.counts] == list(dataset.classes)
    assert sum(sum(row[1:]) for row in description.counts) == (len(dataset.targets) if dataset.classes else 0)


def test_a_section_can_be_described_too() -> None:
    assert "4096" in dict(describe(default_config("parity", bits=12)).facts)["rows"]


def test_what_cannot_be_described_is_refused_with_a_reason() -> None:
    with pytest.raises(DataError, match="there is no data set 'irsi'; there are digits"):
        describe("irsi")
    with pytest.raises(DataError, match=r"data=table: data.path: field required; data.target"):
        describe("table")
    with pytest.raises(DataError, match=r"data.path is missing"):
        describe("idx")


def test_an_image_is_drawn_the_right_way_up() -> None:
    image = np.zeros((8, 8))
    image[0, :4] = 1.0
    lines = images([("one", image), ("two", image.T)])
    assert lines[0].split() == ["one", "two"]
    assert lines[1] == "█" * 8 + " " * 10 + "██"
    assert lines[2].strip() == "██"
    large = images([("large", np.pad(np.ones((14, 28)), ((0, 14), (0, 0))))])
    assert large[1:] == ["█" * 28] * 7 + [""] * 7
    assert max(map(len, images([("x", np.ones((200, 300)))] * 5))) <= WIDTH


def test_constant_pictures_and_missing_values_do_not_divide_by_zero() -> None:
    assert signals([("flat", np.zeros(5))]) == ["flat  ▁▁▁▁▁"]
    assert images([("flat", np.zeros((8, 8)))])[1].strip() == ""
    assert len(scatter(np.zeros(3), np.zeros(3), np.zeros(3, dtype=np.int64), ("a",))) == 26
    assert "nan" in ranges(np.full((3, 1), np.nan), ["a"])[1]


def test_a_scatter_puts_points_where_they_are() -> None:
    lines = scatter(np.array([0.0, 1.0]), np.array([0.0, 1.0]), np.array([0, 1]), ("a", "b"))
    assert lines[1].endswith("x│")
    assert lines[22].startswith("│o")
    assert lines[-1] == "o a   x b"
