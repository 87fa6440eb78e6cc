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
from contextlib import ExitStack
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeAlias, Union, get_args, get_origin
from unittest import mock

import numpy as np
import pytest
import reference
import torch
from annotated_types import Ge, Gt, Le, Lt
from hypothesis import HealthCheck, Phase, find, given, note, settings
from hypothesis import strategies as st
from pydantic.fields import FieldInfo
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import mlpexp.kernel
from mlpexp import config as schema
from mlpexp import lanes as lanes_module
from mlpexp import recording, training
from mlpexp.activation_schema import ACTIVATION_NAMES
from mlpexp.cohorts import cohort_key
from mlpexp.config import Config, Model, Section, Training, validate
from mlpexp.critical_weights import refusals
from mlpexp.data import Dataset, Part, Parts
from mlpexp.data.dataset import Task
from mlpexp.kernel import activations, backpropagation, losses, measurements, network
from mlpexp.kernel.arithmetic import product, require_stable_products
from mlpexp.model_schema import PARAMETERS

# --- what there is to configure ---

Choice: TypeAlias = tuple[str, type[Section], str, Any]
"""Group, section, key and value."""

CHOSEN: dict[str, list[Any]] = {  # keys whose values are worth choosing by hand
    "depth": [1, 2, 3, 4, 6],
    "activation": [*ACTIVATION_NAMES, "mixed"],
    "activation_sources": [None],
    "slope": [None, -1.0, 0.5],
    "intercept": [None, 0.0, 0.3],
    "width": [1, 2, 5, 16, 33, 64, "mixed"],
    "epochs": [0, 1, 2, 3],
    "updates": [None, None, None, 0, 1, 2, 5, 11],
    "examples": [None, None, None, 1, 50, 120],
    "flops": [None, None, None, 1, 2000],
    "until_loss": [None, None, None, 0.0, 1.5, 1e9],
    "batch_size": [1, 2, 3, 7, 16, 33, 64, "n"],
    "evaluate_every": [1, 2],
    "patience": [None, None, 1, 2],
    "learning_rate": [1e-3, 0.1, 0.1, 50.0, 1e30],  # the last two diverge
    "dtype": ["float32", "float32", "float64"],
}


MIXED: dict[str, list[Any]] = {"activation": ["tanh", "relu", "gelu"], "width": [7, 16, 16, 2]}
"""What "mixed" stands for: these, one a hidden layer, over and over."""


def values_of(name: str, field: FieldInfo) -> list[Any]:
    """Values of a key, by its type and range."""
    chosen = CHOSEN.get(name, [])
    fits = None not in chosen or type(None) in get_args(field.annotation)  # a budget in examples, or LSUV's examples
    return chosen if chosen and fits else _values(field.annotation, field.metadata, name)


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


def words_of(key: str, annotation: Any) -> list[Any]:
    """The words among which a key lets one choose."""
    if key == "activation":
        return list(ACTIVATION_NAMES)
    parts = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return [word for part in parts if get_origin(part) is Literal for word in get_args(part)]


CHOICES = [
    (group, kind, key, value)
    for group, kinds in SECTIONS.items()
    for kind in kinds
    for key, field in kind.model_fields.items()
    for value in words_of(key, field.annotation)
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
            value = 5 if value in ("n", "mixed") and key != "activation" else value
            value = "tanh" if value == "mixed" else value
            keys.add(
                cohort_key(plain.model_copy(update={group: getattr(plain, group).model_copy(update={key: value})}))
            )
        if len(keys) == 1:
            found.add(key)
    return found


DIFFERING = {"model": differing_keys(Model, "model"), "training": differing_keys(Training, "training")}


# --- random cohorts ---


@st.composite
def sections(draw: st.DrawFn, group: str, choice: Choice | None = None) -> dict[str, Any]:
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
        return (
            f"{len(self.configs)} lanes, {self.parts.dataset.task} [{n}, {self.parts.dataset.inputs}], {shared}, {own}"
        )

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


def made_up(task: Task, outputs: int, inputs: int, rows: tuple[int, int, int], seed: int) -> Parts:
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
    dataset = Dataset("made_up", task, features, targets, classes)
    return Parts(dataset, parts[0], parts[1], parts[2], np.zeros(inputs), np.ones(inputs))


@st.composite
def cohorts(draw: st.DrawFn, choice: Choice | None = None, lanes: int = 64) -> Cohort:
    """Any cohort that the schema allows; every lane is one of a few kinds, with a seed of its own."""
    outputs = draw(st.sampled_from([1, 2, 3, 7, 10]))
    tasks: list[Task] = ["regression", "binary" if outputs == 1 else "multiclass"]
    task = draw(st.sampled_from(tasks))
    rows = draw(st.sampled_from([5, 33, 64, 70])), draw(st.sampled_from([4, 17])), draw(st.sampled_from([1, 9]))
    parts = made_up(task, outputs, draw(st.sampled_from([1, 2, 7, 33, 64])), rows, draw(st.integers(0, 9)))
    common = {group: draw(sections(group, choice)) for group in ("model", "training")}
    if choice is not None and choice[3] == "critical":
        common["model"]["activation"] = "tanh"  # has a critical point at every sigma_b
    common["measurements"] = {
        "quantities": "full",
        "every": draw(st.sampled_from([1, 2])),
        "schedule": draw(st.sampled_from([{}, {}, {"histograms": 1, "probes": 2, "spectra": "epoch"}])),
        "probe_examples": draw(st.sampled_from([1, 7, 64])),
    }
    kinds = []
    for i in range(draw(st.integers(1, 5))):
        own = {group: draw(sections(group, choice if i == 0 else None)) for group in SECTIONS}
        label_noise = 0.0 if task == "regression" else draw(st.sampled_from([0.0, 0.0, 0.3]))
        kinds.append(lane_of(common, own, choice, label_noise, rows[0]))
    count = draw(st.sampled_from([r for r in (1, 2, 3, 5, 17, 64) if r <= lanes]))
    seeds = draw(st.integers(0, 1000))
    plain = [validate(kind) for kind in kinds]  # a refusal fails the test: its choice would go untested
    configs = [plain[i % len(plain)].model_copy(update={"seed": seeds + i // 2}) for i in range(count)]
    assert len({cohort_key(config) for config in configs}) == 1
    return Cohort(configs, parts)


def lane_of(common: dict[str, Any], own: dict[str, Any], choice: Choice | None, noise: float, n: int) -> dict[str, Any]:
    """A lane's content: its own where lanes may differ, the common one elsewhere; what cannot go together is mended."""
    content = {**common, **{group: own[group] for group in SECTIONS if group not in DIFFERING}}
    for group, keys in DIFFERING.items():
        content[group] = {key: (own if key in keys else common)[group][key] for key in common[group]}
    model, training_keys = content["model"], content["training"]
    if choice is not None and choice[0] in DIFFERING:
        content[choice[0]][choice[2]] = choice[3]
    if model["batch_norm"] and choice is not None and choice[2] == "batch_norm":
        model["depth"] = max(model["depth"], 2)
    hidden = model["depth"] - 1
    for key, values in MIXED.items():
        if model[key] == "mixed":
            model[key] = [values[i % len(values)] for i in range(hidden)]
    for key, parameter in PARAMETERS.items():
        model[key] = model[key] if model["activation"] == parameter.activation else None
    model |= {} if hidden else {"dropout": 0.0, "batch_norm": None}
    widths = model["width"] if isinstance(model["width"], list) else [model["width"]] * hidden
    model["skip"] = model["skip"] and any(a == b for a, b in itertools.pairwise(widths))
    if model["batch_norm"] is None:
        model |= {key: field.default for key, field in Model.model_fields.items() if key.startswith("batch_norm_")}
    training_keys["decay_every"] = (training_keys["decay_every"] or 2) if training_keys["schedule"] == "step" else None
    training_keys["decay_factor"] = training_keys["decay_factor"] if training_keys["schedule"] == "step" else 0.1
    if own["initialisation"]["name"] == "critical" and refusals(Model(**model), own["initialisation"]["sigma_b"]):
        content["initialisation"] = {"name": "he"}
    if own["optimizer"]["name"] == "rprop" and choice is not None and choice[2] == "schedule":
        content["optimizer"] = PLAIN["optimizer"]  # Rprop has no rate to schedule
    elif own["optimizer"]["name"] == "rprop":
        training_keys |= {"schedule": "constant", "warm_up": 0, "decay_every": None, "decay_factor": 0.1}
        bounds = sorted((own["optimizer"]["step_min"], own["optimizer"]["step_max"]))
        content["optimizer"] = own["optimizer"] | dict(zip(("step_min", "step_max"), bounds, strict=True))
    if own["optimizer"].get("nesterov"):
        content["optimizer"] = own["optimizer"] | {"momentum": own["optimizer"]["momentum"] or 0.9}
    if budgets := [key for key in ("updates", "examples", "flops") if training_keys[key] is not None]:
        training_keys |= {"epochs": None} | dict.fromkeys(budgets[1:])
    training_keys["huber_delta"] = training_keys["huber_delta"] if training_keys["loss"].startswith("huber") else 1.0
    training_keys["tolerance"] = training_keys["tolerance"] if training_keys["patience"] else 0.0
    training_keys["batch_size"] = n if training_keys["batch_size"] == "n" else min(n, training_keys["batch_size"])
    if model["batch_norm"]:  # takes no batch of one
        sizes = [size for size in range(max(2, training_keys["batch_size"]), n + 1) if n % size != 1]
        training_keys["batch_size"] = sizes[0]
    return {**content, "data": {"name": "digits", "label_noise": noise}}


# --- the property ---

BITS = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], print_blob=False)
SEARCH = settings(BITS, max_examples=400, phases=[Phase.generate])


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

    def has_all(cohort: Cohort, wanted: set[str]) -> bool:
        found = cohort.train(list(range(len(cohort.configs))))
        return {history.ending.status for history in found.values()} >= wanted

    stopping: Choice = ("training", Training, "patience", 1)
    enough: dict[str, list[Any]] = {"epochs": [3], "updates": [None], "examples": [None], "flops": [None]}
    for wanted, choice in ((endings, stopping), ({"reached_loss", "diverged", "finished"}, None)):
        with mock.patch.dict(CHOSEN, enough):  # most budgets are so small that nothing stops before them
            find(cohorts(choice), lambda cohort, wanted=wanted: has_all(cohort, wanted), settings=SEARCH)  # type: ignore[misc]


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
        pytest.skip("on this processor the forbidden way has the same bits, so there is nothing to notice")
    with ExitStack() as patches:
        for patch in broken():
            patches.enter_context(patch)
        find(cohorts(choice), lambda cohort: cohort.differences(random.Random(0)) != [], settings=SEARCH)


# --- products and where they lie in memory ---

MISALIGNED = """
import itertools, torch
torch.set_num_threads(1)
from mlpexp.kernel.arithmetic import UnstableProducts, _moved, require_stable_products
generator = torch.Generator().manual_seed(1)
differ = False
for rows, inner, columns in itertools.product((1, 3, 7, 33, 64), (2, 10, 33, 64), (2, 7, 10, 33, 64)):
    left, right = (torch.randn(3, *shape, generator=generator) for shape in ((rows, inner), (inner, columns)))
    expected = torch.bmm(left, right)
    for offset in range(1, 16):
        out = _moved(torch.empty_like(expected), offset)
        moved = torch.bmm(_moved(left, offset), _moved(right, 16 - offset))
        alone = torch.bmm(left[1:2], right[1:2])[0]
        differ |= not torch.equal(torch.bmm(left, right, out=out), expected)
        differ |= not torch.equal(moved, expected) or not torch.equal(alone, expected[1])
try:
    require_stable_products()
    print(differ, False)
except UnstableProducts as error:
    assert "MKL_CBWR" in str(error)
    print(differ, True)
"""


def misaligned(**environment: str) -> tuple[str, str]:
    """In a process of its own: whether misaligned products differ, and whether the self-test says so."""
    clean = {name: value for name, value in os.environ.items() if name != "MKL_CBWR"}
    command = [sys.executable, "-c", MISALIGNED]
    answer = subprocess.run(
        command, env={**clean, **environment}, capture_output=True, text=True, check=True, timeout=60
    )
    differ, raised = answer.stdout.split()
    return differ, raised


def test_the_self_test_raises_exactly_where_misaligned_products_differ() -> None:
    differ, raised = misaligned()
    assert raised == differ


def test_with_strict_products_alignment_does_not_matter() -> None:
    assert misaligned(MKL_CBWR="AUTO,STRICT") == ("False", "False")
    require_stable_products()


def test_one_result_column_is_a_product_like_any_other() -> None:
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(3, *s, generator=generator, dtype=torch.float64) for s in ((5, 33), (33, 1)))
    torch.testing.assert_close(product(left, right), left @ right, rtol=1e-13, atol=1e-14)
    out = torch.full((3, 5, 1), torch.nan, dtype=torch.float64)
    assert product(left, right, out=out).data_ptr() == out.data_ptr()
    assert torch.equal(out, product(left, right))


# --- the rules of kernel/arithmetic.py, read from the source ---

ELEMENTWISE = {
    *("neg", "reciprocal", "exp", "expm1", "log", "log1p", "tanh", "erf", "sqrt", "clamp", "where", "lerp", "addcmul"),
    *(
        "addcdiv",
        "rsqrt",
        "bitwise_and",
        "add",
        "sub",
        "mul",
        "div",
        "square",
        "abs",
        "sign",
        "isfinite",
        "isinf",
        "isnan",
        "masked_fill",
    ),
}
REDUCTIONS = {"sum", "amax", "amin", "aminmax", "argmax", "vector_norm"}
PLACES = {
    *("arange", "cat", "empty", "empty_like", "eye", "expand", "fill", "flatten", "from_numpy", "full", "full_like"),
    *(
        "as_strided",
        "stride",
        "storage_offset",
        "gather",
        "index_select",
        "new_empty",
        "new_full",
        "new_tensor",
        "new_zeros",
        "ones",
        "ones_like",
        "randn",
        "stack",
    ),
    *("tensor", "transpose", "view", "zeros", "zeros_like", "clone", "contiguous", "copy", "to", "long", "nonzero"),
    *("numpy", "numel", "equal", "manual_seed", "Generator", "Tensor", "dtype", "device", "any", "all"),
    *("sort", "scatter_add", "expand_as", "eq", "gt"),
}
CONSTANTS = {"float32", "float64", "int32", "int64", "finfo", "bool", "inf", "nan"}
ALLOWED = ELEMENTWISE | REDUCTIONS | PLACES | CONSTANTS
ONLY_IN = {
    **{"bmm": "product", "svdvals": "singular_values", "eigvalsh": "largest_eigenvalue"},
    **{"qr": "orthonormal", "diagonal": "orthonormal"},
}

KERNEL = sorted(Path(str(mlpexp.kernel.__file__)).parent.rglob("*.py"))
SOURCES = [*KERNEL, Path(str(training.__file__)), Path(str(recording.__file__))]


def functions_of(tree: ast.AST, inside: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Every node, with the name of the function that it stands in."""
    for node in ast.iter_child_nodes(tree):
        name = node.name if isinstance(node, ast.FunctionDef) else inside
        yield name, node
        yield from functions_of(node, name)


def breaches(source: str) -> list[str]:
    """Where a source leaves the rules: functions and methods of torch that are not allowed, and open reductions."""
    found = []
    for function, node in functions_of(ast.parse(source)):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.MatMult):
            found.append(f"{line}: @")
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("torch"):
            found += [f"{line}: {a.name}" for a in node.names if a.name not in ALLOWED | {"Tensor"}]
        if isinstance(node, ast.Attribute) and _is_torch(node.value) and node.attr != "linalg":
            found += [f"{line}: torch.{node.attr}"] if not _allowed(node.attr, function) else []
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        name = called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
        if isinstance(called, ast.Attribute) and not _is_numpy(called) and hasattr(Tensor, name):
            found += [f"{line}: .{name}()"] if not _allowed(name, function) and name not in OURS else []
        is_ours = isinstance(called, ast.Name) and name != "vector_norm"  # the builtin sum
        if name in REDUCTIONS and not is_ours and not any(keyword.arg == "dim" for keyword in node.keywords):
            found.append(f"{line}: {name} without dim")
    return found


OURS = {"select"}  # methods of lanes, networks and rules that a tensor has too


def _is_torch(node: ast.AST) -> bool:
    return (isinstance(node, ast.Name) and node.id == "torch") or (
        isinstance(node, ast.Attribute) and node.attr == "linalg" and _is_torch(node.value)
    )


def _is_numpy(called: ast.Attribute) -> bool:
    return isinstance(called.value, ast.Name) and called.value.id in ("np", "generator", "math")


def _allowed(name: str, function: str) -> bool:
    return name.rstrip("_") in ALLOWED or (name in ONLY_IN and ONLY_IN[name] == function)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_the_source_keeps_to_the_rules(path: Path) -> None:
    assert breaches(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "torch.sigmoid(z)", "z.sigmoid_()", "torch.nn.functional.silu(z)", "z.std(dim=1)", "torch.var(z, dim=1)",
        "torch.einsum('ab,bc->ac', z, z)", "z.mean(dim=1)", "torch.bmm(z, z)", "z @ z", "z.matmul(z)", "z.sum()",
        "torch.amax(z)", "vector_norm(z)", "z.pow(2)", "torch.softmax(z, dim=2)", "from torch import einsum",
        "z.norm()", "torch.linalg.norm(z)", "z.max(dim=1)", "z.cumsum(dim=0)", "z.item()", "z @= z",
    ],
)  # fmt: skip
def test_a_breach_is_found(line: str) -> None:
    assert breaches(f"import torch\ndef f(z):\n    {line}\n") != []


# --- no waiting for the device ---

WAITING = {"item", "tolist", "cpu", "numpy", "synchronize"}
MAY_WAIT = {"piece", "endings"}  # once an epoch, once a lane


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_values_leave_the_device_only_where_pieces_and_endings_are_made(path: Path) -> None:
    found = [
        f"{function}: {node.attr}"
        for function, node in functions_of(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in WAITING and function not in MAY_WAIT
    ]
    assert found == []


class NoWaiting(TorchDispatchMode):
    """Refuses what would need a value, or a size, from the device: item, bool, int and float of a tensor, nonzero."""

    REFUSED = ("_local_scalar_dense", "is_nonzero", "nonzero", "equal", "masked_select", "item", "unique")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        by_mask = name == "index" and any(i is not None and i.dtype == torch.bool for i in args[1])  # x[x > 0]
        assert not by_mask, f"{name} by a mask waits for the device"
        assert name not in self.REFUSED, f"{name} waits for the device"
        return func(*args, **(kwargs or {}))


@settings(BITS, max_examples=20)
@given(cohorts(lanes=3))
def test_an_epoch_of_updates_never_waits_for_the_device(cohort: Cohort) -> None:
    with mock.patch.object(lanes_module, "prepare", return_value=cohort.parts):
        plan, lanes = lanes_module.build(cohort.configs)
    with NoWaiting():
        training.train_epoch(plan, lanes, 0, {})


@pytest.mark.parametrize("wait", [lambda x: x.sum().item(), lambda x: bool((x > 0).all()), lambda x: x[x > 0]])
def test_a_wait_is_noticed(wait: Callable[[Tensor], Any]) -> None:
    x = torch.ones(3)
    with NoWaiting(), pytest.raises(AssertionError, match="waits for the device"):
        wait(x)
