"""From the run configs of one cohort to lanes ready to train: the one place that builds objects from a config.

Flow: cohorts → **lanes** → training.
"""

import math
from collections.abc import Sequence
from dataclasses import fields
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlpexp.cohorts import Size, pace_of
from mlpexp.config import Config, Model, output_and_loss
from mlpexp.critical_weights import of_torch, sigma_w
from mlpexp.data import Parts, noisy_labels, prepare
from mlpexp.data.dataset import Part
from mlpexp.kernel.activations import Activation, activation
from mlpexp.kernel.initialisation import SCHEMES, Scheme, initial_parameters
from mlpexp.kernel.lane_activations import Sigma, of_lanes
from mlpexp.kernel.losses import Loss
from mlpexp.kernel.lsuv import batch_of, scale_to_unit_variance
from mlpexp.kernel.network import Network
from mlpexp.kernel.normalisation import initial_rows
from mlpexp.kernel.optimizers import Adam, GradientDescent, RMSProp, Rule, column
from mlpexp.kernel.own_activation import functions_of, own_activation
from mlpexp.kernel.own_measurement import own_measurement
from mlpexp.kernel.rprop import Rprop
from mlpexp.kernel.schedules import Schedule
from mlpexp.kernel.streams import stream_key
from mlpexp.lane_state import Examples, Lanes, Plan
from mlpexp.measurability import settled
from mlpexp.shapes import layout_of
from mlpexp.theory import Activation as InTheory

DTYPES = {"float32": torch.float32, "float64": torch.float64}


def activation_of(model: Model, name: str) -> Activation:
    """One of the model's activations, with its parameters; a file of the user's own from the text kept with the run."""
    sources = model.activation_sources or {}
    return own_activation(sources[name], name) if name in sources else activation(name, **model.parameters_of(name))


def activations_of(models: Sequence[Model]) -> list[Sigma]:
    """σ of each hidden layer of lanes with these models; those that are alike are one object."""
    known: dict[tuple[object, ...], Activation] = {}

    def one(model: Model, name: str) -> Activation:
        key = ((model.activation_sources or {}).get(name, name), *model.parameters_of(name).values())
        if key not in known:
            known[key] = activation_of(model, name)
        return known[key]

    sigmas = [{name: one(model, name) for name in model.activation_names()} for model in models]
    layers = range(len(models[0].activations))
    return [of_lanes([own[model.activations[l]] for own, model in zip(sigmas, models, strict=True)]) for l in layers]


def build(configs: Sequence[Config], parts: Parts | None = None) -> tuple[Plan, Lanes]:
    """What the lanes share, and the lanes. The configs must be of one cohort; lane i is configs[i].

    `parts` are their data, where these were loaded before. Inside, lanes are ordered by update rule, so that each rule
    has neighbouring lanes, and then by activation; `numbers` keeps the given order.
    """
    parts = parts or prepare(configs[0].data)
    order = sorted(range(len(configs)), key=lambda i: (_rule_kind(configs[i]), configs[i].model.activations))
    return plan_of(configs[0], parts), lanes_of([configs[i] for i in order], order, parts)


def plan_of(config: Config, parts: Parts) -> Plan:
    """What every lane of a cohort has in common."""
    training = config.training
    measurements = settled(config, parts.dataset.task, len(parts.training))
    output, loss = output_and_loss(config, parts.dataset.task)
    pace = pace_of(config, Size(parts.dataset.inputs, parts.dataset.outputs, len(parts.training)))
    return Plan(
        updates=pace.updates(**training.budget()),
        updates_per_epoch=pace.updates_per_epoch,
        batch_size=training.batch_size,
        sampler=training.sampler,
        loss=Loss(loss, output, training.huber_delta),
        evaluate_every=training.evaluate_every,
        evaluate_train_every=training.evaluate_train_every,
        schedules={name: measurements.schedule_of(name) for name in measurements.names},
        own={name: own_measurement(measurements.sources[file], file) for name, file in measurements.own.items()},
        probe_examples=measurements.probe_examples,
    )


def lanes_of(configs: Sequence[Config], numbers: list[int], parts: Parts) -> Lanes:
    """The lanes of these configs, in their order: networks, rules and examples."""
    first = configs[0]
    dtype, device = DTYPES[first.training.dtype], torch.device(first.executor.device)
    layout = layout_of(first.model, parts.dataset.inputs, parts.dataset.outputs)
    seeds = [config.stream_seeds() for config in configs]
    schemes = [scheme_of(config) for config in configs]
    parameters = initial_parameters(layout, schemes, [s["initialisation"] for s in seeds], dtype)
    network = Network(layout, activations_of([config.model for config in configs]), initial_rows(layout, parameters))
    _scale_on_data(network, configs, parts.training.features)
    network = Network(layout, network.activations, network.rows.to(device))
    rules = [
        _rule([configs[i] for i in lanes], device)
        for _, group in groupby(range(len(configs)), key=lambda i: _rule_kind(configs[i]))
        for lanes in [list(group)]
    ]
    start = 0
    for rule in rules:
        rule.start(network.parameters[start : start + len(rule.learning_rate)])
        start += len(rule.learning_rate)
    infinite = torch.full((len(configs),), torch.inf, dtype=torch.float64, device=device)
    zero = torch.zeros(len(configs), dtype=torch.int64, device=device)
    return Lanes(
        numbers=numbers,
        network=network,
        rules=rules,
        parts={
            name: _examples(part, name, configs, parts, dtype, device)
            for name, part in (("train", parts.training), ("validation", parts.validation), ("test", parts.test))
        },
        l1=[config.training.l1 for config in configs],
        l2=[config.training.l2 for config in configs],
        weight_decay=[getattr(config.optimizer, "weight_decay", 0.0) for config in configs],
        clip_norm=[math.inf if c.training.clip_norm is None else c.training.clip_norm for c in configs],
        schedules=[_schedule(config) for config in configs],
        label_smoothing=[config.training.label_smoothing for config in configs],
        dropout=[config.model.dropout for config in configs],
        batch_seeds=[s.get("batches", 0) for s in seeds],
        dropout_seeds=[s.get("dropout", 0) for s in seeds],
        patience=[config.training.patience for config in configs],
        tolerance=[config.training.tolerance for config in configs],
        until_loss=[-math.inf if c.training.until_loss is None else c.training.until_loss for c in configs],
        restore=[config.training.restore for config in configs],
        initial=network.rows.clone(),
        best=network.rows.clone(),
        best_loss=infinite,
        best_step=zero,
        reference=infinite.clone(),
        waited=zero.clone(),
        diverged_at=zero - 1,
    )


def scheme_of(config: Config) -> Scheme:
    """How a config draws its first weights."""
    keys, model = config.initialisation.model_dump(exclude={"name", "examples"}), config.model
    if config.initialisation.name == "critical":
        keys["sigma_w"] = sigma_w(model, config.initialisation.sigma_b, lambda name: in_theory(model, name))
    return SCHEMES[config.initialisation.name](**keys)


def in_theory(model: Model, name: str) -> InTheory:
    """A file of the user's own, as theory takes it."""
    return of_torch(name, *functions_of((model.activation_sources or {})[name], name))


def _scale_on_data(network: Network, configs: Sequence[Config], features: NDArray[np.generic]) -> None:
    """The weights of lanes with initialisation=lsuv, each on a batch of its own, drawn from the training part."""
    for lane, config in enumerate(configs):
        if config.initialisation.name == "lsuv":
            seed = config.stream_seeds()["initialisation"]
            rows = batch_of(seed, config.initialisation.examples, len(features))
            inputs = torch.from_numpy(features[rows]).to(network.parameters)
            scale_to_unit_variance(network.lane(lane), inputs[None])


def _schedule(config: Config) -> Schedule:
    training = config.training
    return Schedule(training.schedule, training.warm_up, training.decay_every or 1, training.decay_factor)


KINDS: dict[str, tuple[type[Rule], dict[str, tuple[str, object]]]] = {
    "gradient_descent": (GradientDescent, {"nesterov": ("nesterov", True)}),
    "rmsprop": (RMSProp, {}),
    "rprop": (Rprop, {"backtracking": ("variant", "plus")}),
    "adam": (Adam, {"inside": ("epsilon_placement", "inside")}),
}
"""Rule of each optimizer; what switches its code path: argument → (key, the key's value that switches it on)."""


def _rule_kind(config: Config) -> tuple[str, tuple[bool, ...]]:
    """Lanes with the same kind share one rule object; all numbers in it are columns."""
    _, switches = KINDS[config.optimizer.name]
    return config.optimizer.name, tuple(getattr(config.optimizer, key) == value for key, value in switches.values())


def _rule(configs: Sequence[Config], device: torch.device) -> Rule:
    """The rule of neighbouring lanes of one kind: each of its columns is the key of that name."""
    name, switched = _rule_kind(configs[0])
    rule, switches = KINDS[name]
    keys = [
        f.name for f in fields(rule) if f.name in type(configs[0].optimizer).model_fields and f.name not in switches
    ]
    columns = {key: column([getattr(config.optimizer, key) for config in configs]).to(device) for key in keys}
    arguments: dict[str, Any] = {**columns, **dict(zip(switches, switched, strict=True))}
    return rule(**arguments)


def _examples(
    part: Part, name: str, configs: Sequence[Config], parts: Parts, dtype: torch.dtype, device: torch.device
) -> Examples:
    """One part on the device. Label noise goes into training and validation labels, never into the test's."""
    features = torch.from_numpy(part.features).to(device, dtype)
    outputs = parts.dataset.outputs
    if parts.dataset.task == "regression":
        return Examples(features, outputs, values=torch.from_numpy(part.targets).to(device, dtype))
    clean = torch.from_numpy(part.targets)
    if name == "test" or not any(config.data.label_noise for config in configs):
        return Examples(features, outputs, labels=clean.expand(len(configs), -1).to(device))
    noisy = [_noisy(part, name, config, len(parts.dataset.classes)) for config in configs]
    return Examples(features, outputs, labels=torch.stack(noisy).to(device))


def _noisy(part: Part, name: str, config: Config, classes: int) -> Tensor:
    share = config.data.label_noise
    if share == 0:
        return torch.from_numpy(part.targets)
    key = stream_key(config.stream_seeds()["noise"], f"noise.{name}")
    return torch.from_numpy(noisy_labels(part.targets.astype(np.int64), share, classes, key))
