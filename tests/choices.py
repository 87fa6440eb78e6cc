"""What there is to configure, read from the schema, so that a new choice is tested without being named here.

Keys that `cohort_key` leaves out differ between the lanes of a cohort, all others are common.
"""

from types import UnionType
from typing import Any, Literal, TypeAlias, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from mlpexp import config as schema
from mlpexp.activation_schema import ACTIVATION_NAMES
from mlpexp.cohorts import cohort_key
from mlpexp.config import Config, Model, Section, Training, validate

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
    "evaluate_train_every": [1, 1, 2, 3, None],
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
    raise TypeError(f"tests/choices.py cannot choose a value for {name}: {kind}; teach it in CHOSEN")


def _within(number: Any, mark: object) -> bool:
    match mark:
        case Ge(bound):
            return bool(number >= bound)
        case Gt(bound):
            return bool(number > bound)
        case Le(bound):
            return bool(number <= bound)
        case Lt(bound):
            return bool(number < bound)
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
