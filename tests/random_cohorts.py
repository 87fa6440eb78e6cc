"""Cohorts that Hypothesis draws: any configs that may train together, on made-up data, in any company."""

import itertools
import random
from collections.abc import Iterator
from typing import Any
from unittest import mock

import histories
import numpy as np
from choices import DIFFERING, MIXED, PLAIN, SECTIONS, Choice, values_of
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from mlpexp import lanes as lanes_module
from mlpexp.cohorts import cohort_key
from mlpexp.config import Config, Model, validate
from mlpexp.critical_weights import refusals
from mlpexp.data import Dataset, Part, Parts
from mlpexp.data.dataset import Task
from mlpexp.model_schema import PARAMETERS

BITS = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], print_blob=False)
SEARCH = settings(BITS, max_examples=3000, phases=[Phase.generate])


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

    def train(self, chosen: list[int]) -> dict[int, histories.History]:
        """The histories of these lanes, trained together in this order."""
        with mock.patch.object(lanes_module, "prepare", return_value=self.parts):
            found = histories.trained([self.configs[i] for i in chosen])
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
            for name in histories.differences(together[lane], history)
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
    if choice is not None and choice[2] == "until_loss":
        common["training"]["evaluate_train_every"] = 1
    common["measurements"] = {
        "quantities": "full",
        "every": draw(st.sampled_from([1, 2])),
        "schedule": draw(st.sampled_from([{}, {}, {"histograms": 1, "probes": 2, "spectra": "epoch"}])),
        "probe_examples": draw(st.sampled_from([1, 7, 64])),
    }
    kinds = []
    for i in range(draw(st.integers(1, 5))):
        own = {group: draw(sections(group, choice if i == 0 else None)) for group in SECTIONS}
        if i == 0 and choice is not None and choice[3] == "critical":
            own["model"]["activation"] = "tanh"  # has a critical point at every sigma_b
        label_noise = 0.0 if task == "regression" else draw(st.sampled_from([0.0, 0.0, 0.3]))
        kinds.append(lane_of(common, own, choice, label_noise, rows[0]))
    count = draw(st.sampled_from([r for r in (1, 2, 3, 5, 17, 64) if r <= lanes]))
    seeds = draw(st.integers(0, 1000))
    plain = [validate(kind) for kind in kinds]  # a refusal fails the test: its choice would go untested
    plain = [kind for kind in plain if cohort_key(kind) == cohort_key(plain[0])]  # activations that define as much
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
    training_keys["until_loss"] = training_keys["until_loss"] if training_keys["evaluate_train_every"] else None
    training_keys["tolerance"] = training_keys["tolerance"] if training_keys["patience"] else 0.0
    training_keys["batch_size"] = n if training_keys["batch_size"] == "n" else min(n, training_keys["batch_size"])
    if model["batch_norm"]:  # takes no batch of one
        sizes = [size for size in range(max(2, training_keys["batch_size"]), n + 1) if n % size != 1]
        training_keys["batch_size"] = sizes[0]
    return {**content, "data": {"name": "digits", "label_noise": noise}}
