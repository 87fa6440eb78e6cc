"""The page of the lecture's definitions says what is so: its options compose, its code and its tests are there."""

import importlib
import re
import shlex
from pathlib import Path

import pytest
from runs_fixtures import compose

from mlpexp.kernel.activations import ACTIVATIONS
from mlpexp.kernel.initialisation import SCHEMES
from mlpexp.kernel.losses import LOSSES, OUTPUTS
from mlpexp.lecture import PAGE, Definition, definitions, page
from mlpexp.planning import plan

TESTS = Path(__file__).parent
DEFINITIONS = definitions()
NAMED = [pytest.param(one, id=one.name) for one in DEFINITIONS]
EXTRA = {"elu", "selu", "gelu", "silu", "softsign"}
"""Activations that the lecture does not have: people compare its own with them."""


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m mlpexp.lecture"


@pytest.mark.parametrize("one", NAMED)
def test_the_option_selects_what_it_says(one: Definition) -> None:
    if not one.option.startswith("mlpexp "):
        plan([compose(*shlex.split(one.option), "tracking=none")])


@pytest.mark.parametrize("one", NAMED)
def test_the_code_is_there(one: Definition) -> None:
    module, _, name = one.code.partition(":")
    assert hasattr(importlib.import_module(f"mlpexp.{module}"), name)


@pytest.mark.parametrize("one", NAMED)
def test_the_test_is_there(one: Definition) -> None:
    file, _, name = one.test.partition("::")
    source = (TESTS / f"test_{file}.py").read_text(encoding="utf-8")
    assert re.search(rf"^def test_{name}\(", source, re.MULTILINE)


def test_nothing_that_can_be_chosen_is_missing() -> None:
    text = " ".join(one.option for one in DEFINITIONS)
    words = set(re.split(r"[ =\[\],]", text))
    wanted = {name for name in ACTIVATIONS if name not in EXTRA} | {*SCHEMES, *OUTPUTS, "epoch", "fresh", "full"}
    wanted |= {loss for loss in LOSSES if not loss.endswith("_mean")}
    assert wanted <= words
