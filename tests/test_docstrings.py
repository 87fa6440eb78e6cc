"""The public names are few, and the example in each docstring runs."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

import mlpexp

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.mark.parametrize("name", [*mlpexp.__all__, ""])
def test_the_example_of_a_public_name_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLPEXP_OUTPUTS", str(tmp_path))
    thing = getattr(mlpexp, name) if name else mlpexp
    module = import_module(thing.__module__) if name else mlpexp
    (example,) = [
        found
        for found in doctest.DocTestFinder(recurse=False).find(thing, name or "mlpexp", module=module)
        if found.examples
    ]
    assert doctest.DocTestRunner(optionflags=OPTIONS).run(example).failed == 0


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(AttributeError, match="mlpexp has no swept; it has Config"):
        _ = mlpexp.swept
