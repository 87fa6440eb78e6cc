"""What a trained network has learned, as numbers that a picture shows: weights, regions, units, attributions, slices.

Flow: run folder, data → **learned** → learned_figures. Torch and the data are loaded only for what is asked.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlpexp.model_schema import PROBABILITIES
from mlpexp.records import Array
from mlpexp.refusals import ConfigError
from mlpexp.results import Result

if TYPE_CHECKING:
    from mlpexp.data.dataset import Parts
    from mlpexp.modules import Perceptron

GRID, EXAMPLES = 200, 256
"""Places along a side of a decision region; examples of the test part whose units are looked at."""


def parts_of(run: Result) -> "Parts":
    """The data of a run, prepared as it was trained on."""
    from mlpexp.data import prepare

    return prepare(run.config.data)


def raw(parts: "Parts", features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Normalised examples [n, q] as they came."""
    return features * parts.scale + parts.centre


def first_weights(run: Result, shape: tuple[int, ...]) -> Array:
    """Columns of W₁ of the restored weights as images, [k₂, *shape], the longest first."""
    from safetensors.numpy import load_file

    weight = load_file(run.folder / f"{run.config.training.restore}.safetensors")["layers.0.weight"]  # [k₂, q]
    order = np.argsort(-np.linalg.norm(weight, axis=1), kind="stable")
    return np.asarray(weight[order], dtype=np.float64).reshape(-1, *shape)


def decision_regions(run: Result, parts: "Parts") -> tuple[Array, Array, NDArray[np.int64], Array]:
    """Of two-dimensional inputs: axes [g] and [g], predicted class [g, g] and its probability [g, g], over all data."""
    import torch

    inputs = raw(parts, np.concatenate([parts.training.features, parts.test.features]))
    low, high = inputs.min(axis=0), inputs.max(axis=0)
    margin = 0.08 * (high - low)
    x, y = (np.linspace(low[i] - margin[i], high[i] + margin[i], GRID) for i in range(2))
    places = np.stack([axis.ravel() for axis in np.meshgrid(x, y)], axis=1)
    with torch.no_grad():
        outputs = _network(run)(torch.from_numpy(places)).numpy()
    probabilities = outputs if outputs.shape[1] > 1 else np.concatenate([1 - outputs, outputs], axis=1)
    classes = probabilities.argmax(axis=1)
    return x, y, classes.reshape(GRID, GRID), probabilities.max(axis=1).reshape(GRID, GRID)


def hidden_outputs(run: Result, parts: "Parts") -> list[Array]:
    """Outputs of each hidden layer for the first test examples, in the order of their classes, [n, k_l] each."""
    import torch

    network = _network(run)
    found: list[Array] = []
    order = np.argsort(_first_column(parts.test.targets[:EXAMPLES]), kind="stable")
    inputs = raw(parts, parts.test.features[:EXAMPLES])[order]
    # what enters a linear layer is what left the hidden layer before it
    hooks = [
        layer.register_forward_pre_hook(lambda _, given: found.append(given[0].numpy().astype(np.float64)))
        for layer in list(network.layers)[1:]
    ]
    with torch.no_grad():
        network(torch.from_numpy(inputs))
    for hook in hooks:
        hook.remove()
    return found


def attribution(run: Result, parts: "Parts") -> Array:
    """Mean over the test examples of a class of |x · ∂z_c/∂x|, the standardised input by its slope, [classes, q].

    Gradient times input (Shrikumar et al. 2016), of the class's own z where the last layer has one a class; else of
    the only output.
    """
    import torch

    features, targets = parts.test.features, _first_column(parts.test.targets).astype(np.int64)
    inputs = torch.from_numpy(raw(parts, features)).requires_grad_()
    z = _network(run).logits(inputs)
    chosen = z.gather(1, torch.from_numpy(targets)[:, None]) if z.shape[1] > 1 else z
    (slopes,) = torch.autograd.grad(chosen.sum(), inputs)
    found = np.abs(features * slopes.numpy() * parts.scale)
    classes = range(len(parts.dataset.classes)) if parts.dataset.classes else [0]
    groups = [targets == c if parts.dataset.classes else np.ones(len(targets), dtype=bool) for c in classes]
    return np.stack([found[own].mean(axis=0) if own.any() else np.zeros(features.shape[1]) for own in groups])


def loss_slice(one: Result, other: Result, parts: "Parts", places: Array) -> dict[str, Array]:
    """Loss on each part along the straight line from one run's weights (0) to another's (1), [places] by part.

    Goodfellow, Vinyals & Saxe 2015. Raises ConfigError where the two have different shapes or data.
    """
    import torch

    if one.facts["widths"] != other.facts["widths"] or one.facts["data"]["digest"] != other.facts["data"]["digest"]:
        raise ConfigError(
            [f"{one.name} and {other.name} have no line between them: it takes equal widths and equal data"]
        )
    networks = [_network(run) for run in (one, other)]
    states = [{name: own.clone() for name, own in network.state_dict().items()} for network in networks]
    found: dict[str, list[float]] = {"train": [], "validation": [], "test": []}
    for place in places:
        mixed = {name: (1 - place) * value + place * states[1][name] for name, value in states[0].items()}
        networks[0].load_state_dict(mixed)
        for name, part in (("train", parts.training), ("validation", parts.validation), ("test", parts.test)):
            with torch.no_grad():
                outputs = networks[0](torch.from_numpy(raw(parts, part.features))).numpy()
            found[name].append(_loss(outputs, part.targets, one.facts["output"]))
    return {name: np.array(values) for name, values in found.items()}


def _loss(outputs: Array, targets: NDArray[Any], output: str) -> float:
    """Mean −ln of the right class's probability; the mean squared error where outputs are none."""
    if output in PROBABILITIES and targets.ndim == 1 and np.issubdtype(targets.dtype, np.integer):
        chosen = np.where(targets == 1, outputs[:, 0], 1 - outputs[:, 0])
        if outputs.shape[1] > 1:
            chosen = outputs[np.arange(len(targets)), targets]
        return float(-np.log(np.maximum(chosen, np.finfo(np.float64).tiny)).mean())
    wanted = targets if targets.size == outputs.size else np.eye(outputs.shape[1])[targets]
    return float(((outputs - wanted.reshape(outputs.shape)) ** 2).mean())


def _first_column(targets: NDArray[Any]) -> NDArray[Any]:
    return targets.reshape(len(targets), -1)[:, 0]


def _network(run: Result) -> "Perceptron":
    """The restored network, reckoning in double precision."""
    import torch

    network: Perceptron = run.network().double()
    network.dtype = torch.float64
    return network
