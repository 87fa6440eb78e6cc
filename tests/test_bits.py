"""A lane gets the same bits whatever its company: a property of random cohorts that notices when a rule is broken."""

import itertools
import random
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any
from unittest import mock

import pytest
import torch
from choices import CHOICES, CHOSEN, Choice, values_of
from hypothesis import find, given, note, settings
from hypothesis import strategies as st
from pydantic.fields import FieldInfo
from random_cohorts import BITS, SEARCH, Cohort, cohorts
from torch import Tensor

from mlpexp.config import Model, Training
from mlpexp.kernel import activations, backpropagation, losses, measurements, network

# --- the property ---


@pytest.mark.parametrize("choice", CHOICES, ids=lambda c: f"{c[0]}.{c[1].__name__}.{c[2]}={c[3]}")
@settings(BITS, max_examples=5)
@given(data=st.data())
def test_no_choice_lets_a_lane_notice_its_company(choice: Choice, data: st.DataObject) -> None:
    cohort = data.draw(cohorts(choice, lanes=17))
    chosen = cohort.configs[0].model_dump()[choice[0]]
    assert chosen[choice[2]] == choice[3]
    assert cohort.differences(random.Random(0)) == []


@settings(BITS, max_examples=60)
@given(cohorts(), st.integers(0, 99))
def test_a_lane_does_not_notice_its_company(cohort: Cohort, order: int) -> None:
    note(repr(cohort))
    assert cohort.differences(random.Random(order)) == []


def test_the_fuzz_meets_every_ending() -> None:
    """Lanes that diverge, stop early or reach their loss sit beside lanes that finish."""
    endings = {"finished", "diverged", "stopped_early"}

    def has_all(wanted: set[str], cohort: Cohort) -> bool:
        found = cohort.train(list(range(len(cohort.configs))))
        return {history.ending.status for history in found.values()} >= wanted

    stopping: Choice = ("training", Training, "patience", 1)
    enough: dict[str, list[Any]] = {"epochs": [3], "updates": [None], "examples": [None], "flops": [None]}
    reached = {"reached_loss", "diverged", "finished"}
    for wanted, choice, more in ((endings, stopping, {"until_loss": [None]}), (reached, None, {})):
        with mock.patch.dict(CHOSEN, enough | more):  # most budgets are so small that nothing stops before them
            find(cohorts(choice), partial(has_all, wanted), settings=SEARCH)


def test_a_key_that_nobody_can_choose_is_no_silent_gap() -> None:
    with pytest.raises(TypeError, match="cannot choose a value for shape"):
        values_of("shape", FieldInfo(annotation=dict))


# --- what the property finds when a rule is broken ---


def torch_sigmoid(z: Tensor, out: Tensor | None = None) -> Tensor:
    return torch.sigmoid(z, out=out)


def torch_spread(step: measurements.Step) -> Tensor:
    return torch.cat([x.std(dim=(2, 3), correction=0) for x in step.trace.blocks["outputs"]]).T


def one_column_differs() -> bool:
    """Whether torch.bmm of one result column has other bits at R = 1."""
    generator = torch.Generator().manual_seed(0)
    for rows, inner in itertools.product((1, 5, 33, 64), (2, 7, 16, 33, 64)):
        left, right = (torch.randn(5, *shape, generator=generator) for shape in ((rows, inner), (inner, 1)))
        if not torch.equal(torch.bmm(left[:1], right[:1]), torch.bmm(left, right)[:1]):
            return True
    return False


def tail_differs(function: Callable[[Tensor], Tensor]) -> bool:
    """Whether an elementwise function has other bits at the end of a buffer than in its middle."""
    values = torch.randn(4096, generator=torch.Generator().manual_seed(0))
    whole = function(values)
    return any(not torch.equal(function(values[i : i + 1].clone()), whole[i : i + 1]) for i in range(4096))


def spread_differs() -> bool:
    """Whether a variance has other bits at R = 1."""
    generator = torch.Generator().manual_seed(0)
    for layers, rows, width in itertools.product((1, 2, 4), (2, 5, 33, 64), (1, 2, 7, 16, 33)):
        x = torch.randn(layers, 17, rows, width, generator=generator, dtype=torch.float64)
        together = x.std(dim=(2, 3), correction=0)
        if any(
            not torch.equal(x[:, i : i + 1].clone().std(dim=(2, 3), correction=0)[:, 0], together[:, i]) for i in (0, 9)
        ):
            return True
    return False


def broken_products() -> list[Any]:
    return [mock.patch.object(module, "product", torch.bmm) for module in (network, backpropagation)]


def broken_sigmoid() -> list[Any]:
    broken = activations.Activation("sigmoid", torch_sigmoid, activations.ACTIVATIONS["sigmoid"].derivative)
    return [
        mock.patch.dict(activations.ACTIVATIONS, sigmoid=broken),
        mock.patch.object(losses, "sigmoid", torch_sigmoid),
    ]


def broken_spread() -> list[Any]:
    return [mock.patch.dict(measurements.QUANTITIES, activation_std=torch_spread)]


@pytest.mark.parametrize(
    ("broken", "shows", "choice"),
    [
        (broken_products, one_column_differs, None),
        (broken_sigmoid, lambda: tail_differs(torch.sigmoid), ("model", Model, "activation", "sigmoid")),
        (broken_spread, spread_differs, None),
    ],
    ids=["one-column products by bmm", "torch.sigmoid", "torch.std"],
)
def test_a_broken_rule_is_noticed(
    broken: Callable[[], list[Any]], shows: Callable[[], bool], choice: Choice | None
) -> None:
    if not shows():
        pytest.skip(
            "on this processor the forbidden way has the same bits: there is nothing to notice but on another one"
        )
    with ExitStack() as patches:
        for patch in broken():
            patches.enter_context(patch)
        find(cohorts(choice), lambda cohort: cohort.differences(random.Random(0)) != [], settings=SEARCH)
