"""A lane gets the same bits whatever its company: property tests over random configs, and the rules that make it so.

What there is to configure is read from the schema, so that a new choice is tested without being named here: keys that
`cohort_key` leaves out differ between the lanes of a cohort, all others are common.
"""

import ast
import itertools
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin
from unittest import mock

import numpy as np
import pytest
import reference
import torch
from annotated_types import Ge, Gt, Le, Lt
from hypothesis import HealthCheck, find, given, note, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample
from pydantic.fields import FieldInfo
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import mlpexp.kernel
from mlpexp import config as schema
from mlpexp import lanes as lanes_module
from mlpexp import training
from mlpexp.cohorts import cohort_key
from mlpexp.config import Config, Model, Section, Training, output_and_loss, validate
from mlpexp.data import Dataset, Part, Parts
from mlpexp.kernel import activations, backpropagation, losses, measurements, network, optimizers
from mlpexp.kernel.arithmetic import product, require_stable_products
from mlpexp.refusals import ConfigError

# --- what there is to configure ---

CHOSEN: dict[str, list[Any]] = {  # keys whose values are worth choosing by hand
    "depth": [1, 2, 3, 4, 6],
    "width": [1, 2, 5, 16, 33, 64],
    "epochs": [0, 1, 2, 3],
    "batch_size": [1, 2, 3, 7, 16, 33, 64, "n"],
    "evaluate_every": [1, 2],
    "patience": [None, None, 1, 2],
    "learning_rate": [1e-3, 0.1, 0.1, 50.0, 1e30],  # the last two diverge
    "dtype": ["float32", "float32", "float64"],
}


def values_of(name: str, field: FieldInfo) -> list[Any]:
    """Values of a key, by its type and range."""
    return CHOSEN[name] if name in CHOSEN else _values(field.annotation, field.metadata, name)


def _values(kind: Any, marks: list[Any], name: str) -> list[Any]:
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    if get_origin(kind) in (Union, UnionType):
        return [value for part in get_args(kind) for value in _values(part, marks, name)]
    if hasattr(kind, "__metadata__"):
        return _values(kind.__origin__, [*marks, *kind.__metadata__], name)
    if kind is type(None):
        return [None]
    if kind is bool:
        return [False, True]
    if kind in (int, float):
        numbers = [0, 1, 2, 3, 7] if kind is int else [0.0, 1e-8, 1e-3, 0.3, 0.9, 0.999, 1.0, 2.0]
        found = [number for number in numbers if all(_within(number, mark) for mark in marks)]
        if found:
            return found
    raise TypeError(f"tests/test_bits.py cannot choose a value for {name}: {kind}; teach it in CHOSEN")


def _within(number: float, mark: object) -> bool:
    match mark:
        case Ge(bound):
            return number >= bound  # type: ignore[operator]
        case Gt(bound):
            return number > bound  # type: ignore[operator]
        case Le(bound):
            return number <= bound  # type: ignore[operator]
        case Lt(bound):
            return number < bound  # type: ignore[operator]
    return True


def members(union: Any) -> list[type[Section]]:
    """The sections of a discriminated union, or of a single section."""
    inner = get_args(union)[0] if hasattr(union, "__metadata__") else union
    return list(get_args(inner)) if get_args(inner) else [inner]


SECTIONS: dict[str, list[type[Section]]] = {
    name: members(Config.__annotations__[name]) for name in schema.HASHED if name != "data"
}
"""Group → its sections: one each for model and training, one for every kind of initialisation and optimizer."""

CHOICES = [
    (group, kind, key, value)
    for group, kinds in SECTIONS.items()
    for kind in kinds
    for key, field in kind.model_fields.items()
    if get_origin(field.annotation) is Literal
    for value in get_args(field.annotation)
]
"""Every word that can be chosen: each activation, sampler, loss, output, initialisation, optimizer and variant."""

PLAIN: dict[str, Any] = {
    "data": {"name": "digits"}, "model": {}, "initialisation": {"name": "he"},
    "optimizer": {"name": "gradient_descent"}, "training": {}, "measurements": {},
}  # fmt: skip


def differing_keys(section: type[Section], group: str) -> set[str]:
    """Keys that two lanes of one cohort may have different."""
    plain = validate(PLAIN)
    found = set()
    for key, field in section.model_fields.items():
        keys = set()
        for value in dict.fromkeys(values_of(key, field)):
            value = 5 if value == "n" else value
            keys.add(cohort_key(plain.model_copy(update={group: getattr(plain, group).model_copy(update={key: value})})))
        if len(keys) == 1:
            found.add(key)
    return found


DIFFERING = {"model": differing_keys(Model, "model"), "training": differing_keys(Training, "training")}


# --- random cohorts ---


@st.composite
def sections(draw: st.DrawFn, group: str, choice: tuple[str, type[Section], str, Any] | None = None) -> dict[str, Any]:
    """The content of one section of a group, with the choice made if it is one of this group."""
    mine = choice is not None and choice[0] == group
    kind = choice[1] if mine and choice is not None else draw(st.sampled_from(SECTIONS[group]))
    content = {key: draw(st.sampled_from(values_of(key, field))) for key, field in kind.model_fields.items()}
    if mine and choice is not None:
        content[choice[2]] = choice[3]
    return content


class Cohort:
    """Configs that train together on made-up data, and what they leave behind in any company."""

    def __init__(self, configs: list[Config], parts: Parts) -> None:
        self.configs, self.parts = configs, parts

    def __repr__(self) -> str:
        first, n = self.configs[0], len(self.parts.training)
        shared = {name: getattr(first, name).model_dump() for name in ("model", "training")}
        own = [(c.seed, c.optimizer.model_dump(), c.initialisation.model_dump()) for c in self.configs[:4]]
        return f"{len(self.configs)} lanes, {self.parts.dataset.task} [{n}, {self.parts.dataset.inputs}], {shared}, {own}"

    def train(self, chosen: list[int]) -> dict[int, reference.History]:
        """The histories of these lanes, trained together in this order."""
        with mock.patch.object(lanes_module, "prepare", return_value=self.parts):
            found = reference.trained([self.configs[i] for i in chosen])
        return dict(zip(chosen, found, strict=True))

    def companies(self, order: random.Random) -> Iterator[tuple[str, list[list[int]]]]:
        """Ways to train the same lanes: shuffled, split in two, without the strangers between them, alone."""
        lanes = list(range(len(self.configs)))
        shuffled = order.sample(lanes, len(lanes))
        yield "shuffled", [shuffled]
        cut = order.randint(0, len(lanes))
        yield "split", [part for part in (lanes[:cut], lanes[cut:]) if part]
        yield "without strangers", [sorted(order.sample(lanes, (len(lanes) + 1) // 2))]
        yield "alone", [[lane] for lane in order.sample(lanes, min(len(lanes), 3))]

    def differences(self, order: random.Random) -> list[str]:
        """What depends on company; empty if the promise is kept."""
        together = self.train(list(range(len(self.configs))))
        return [
            f"lane {lane} {how}: {name}"
            for how, cohorts in self.companies(order)
            for chosen in cohorts
            for lane, history in self.train(chosen).items()
            for name in reference.differences(together[lane], history)
        ]


def made_up(task: str, outputs: int, inputs: int, rows: tuple[int, int, int], seed: int) -> Parts:
    """Normal features, and classes or reals without meaning."""
    generator = np.random.default_rng(seed)
    features = generator.standard_normal((sum(rows), inputs))
    classes: tuple[str, ...] = ()
    targets: Any = generator.standard_normal((sum(rows), outputs))
    if task != "regression":
        classes = tuple(str(c) for c in range(max(outputs, 2)))
        targets = generator.integers(len(classes), size=sum(rows))
    ends = np.cumsum(rows)
    parts = [Part(features[end - n : end], targets[end - n : end]) for n, end in zip(rows, ends, strict=True)]
    dataset = Dataset("made_up", task, features, targets, classes)  # type: ignore[arg-type]
    return Parts(dataset, *parts, np.zeros(inputs), np.ones(inputs))


@st.composite
def cohorts(draw: st.DrawFn, choice: tuple[str, type[Section], str, Any] | None = None, lanes: int = 64) -> Cohort:
    """Any cohort that the schema allows; every lane is one of a few kinds, with a seed of its own."""
    outputs = draw(st.sampled_from([1, 2, 3, 7, 10]))
    task = draw(st.sampled_from(["regression", "binary" if outputs == 1 else "multiclass"]))
    rows = draw(st.sampled_from([5, 33, 64, 70])), draw(st.sampled_from([4, 17])), draw(st.sampled_from([1, 9]))
    parts = made_up(task, outputs, draw(st.sampled_from([1, 2, 7, 33, 64])), rows, draw(st.integers(0, 9)))
    common = {group: draw(sections(group, choice)) for group in ("model", "training")}
    common["measurements"] = {"quantities": list(schema.QUANTITIES), "every": draw(st.sampled_from([1, 2]))}
    kinds = []
    for i in range(draw(st.integers(1, 5))):
        own = {group: draw(sections(group, choice if i == 0 else None)) for group in SECTIONS}
        label_noise = 0.0 if task == "regression" else draw(st.sampled_from([0.0, 0.0, 0.3]))
        kinds.append(lane_of(common, own, choice, label_noise, rows[0]))
    count = draw(st.sampled_from([r for r in (1, 2, 3, 5, 17, 64) if r <= lanes]))
    seeds = draw(st.integers(0, 1000))
    plain = [validated(kind, parts) for kind in kinds]
    configs = [plain[i % len(plain)].model_copy(update={"seed": seeds + i // 2}) for i in range(count)]
    assert len({cohort_key(config) for config in configs}) == 1
    return Cohort(configs, parts)


def lane_of(
    common: dict[str, Any], own: dict[str, Any], choice: tuple[str, type[Section], str, Any] | None, noise: float, n: int
) -> dict[str, Any]:
    """A lane's content: its own where lanes may differ, the common one elsewhere; what cannot go together is mended."""
    content = {**common, **{group: own[group] for group in SECTIONS if group not in DIFFERING}}
    for group, keys in DIFFERING.items():
        content[group] = {key: (own if key in keys else common)[group][key] for key in common[group]}
    model, training_keys = content["model"], content["training"]
    if choice is not None and choice[0] in DIFFERING:
        content[choice[0]][choice[2]] = choice[3]
    model["negative_slope"] = model["negative_slope"] if model["activation"] == "leaky_relu" else None
    model["dropout"] = model["dropout"] if model["depth"] > 1 else 0.0
    training_keys["tolerance"] = training_keys["tolerance"] if training_keys["patience"] else 0.0
    training_keys["batch_size"] = n if training_keys["batch_size"] == "n" else min(n, training_keys["batch_size"])
    return {**content, "data": {"name": "digits", "label_noise": noise}}


def validated(content: dict[str, Any], parts: Parts) -> Config:
    """The config; what is refused fails the test, for then its choice would go untested."""
    task, outputs = parts.dataset.task, parts.dataset.outputs
    config = validate(content)
    output, loss = output_and_loss(config, task)
    if reference.is_valid(loss, output, outputs) and not (loss == "cross_entropy" and task == "regression"):
        return config
    return config  # senseless combinations are refused elsewhere; they keep their bits as well


# --- the property ---

BITS = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], print_blob=False)


@pytest.mark.parametrize("choice", CHOICES, ids=lambda c: f"{c[0]}.{c[1].__name__}.{c[2]}={c[3]}")
@settings(BITS, max_examples=5)
@given(data=st.data())
def test_no_choice_lets_a_lane_notice_its_company(choice: tuple[str, type[Section], str, Any], data: st.DataObject) -> None:
    cohort = data.draw(cohorts(choice, lanes=17))
    chosen = cohort.configs[0].model_dump()[choice[0]]
    assert chosen[choice[2]] == choice[3]
    assert cohort.differences(random.Random(0)) == []


@settings(BITS, max_examples=60)
@given(cohorts(), st.integers(0, 99))
def test_a_lane_does_not_notice_its_company(cohort: Cohort, order: int) -> None:
    note(repr(cohort))
    assert cohort.differences(random.Random(order)) == []
