"""By how much initial weights are scaled: formulas in the sizes of layers. No torch.

Flow: **schemes** → initialisation (draws by them), mlpexp/expectation.py (tells what signals they let through).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from mlpexp.kernel.layout import Layout

Independent = Literal["normal", "uniform"]


@dataclass(frozen=True)
class Scheme:
    """How W and b are drawn, and their scales as functions of (k_in, k_out).

    The scale is the standard deviation of normals, the half-width of uniforms, the singular values of orthogonal
    weights; `factors`, one a layer, multiply it for the weights. With `unit_variance` a batch of the data decides
    about scales in the end (kernel/lsuv.py).
    """

    distribution: Independent | Literal["orthogonal"]
    weights: Callable[[int, int], float]
    biases: Callable[[int, int], float] = lambda k_in, k_out: 0.0
    factors: tuple[float, ...] | None = None
    unit_variance: bool = False

    def scale(self, layout: Layout, l: int) -> float:
        """The scale of W_l."""
        layer = layout.layers[l]
        return self.weights(layer.inputs, layer.outputs) * (1.0 if self.factors is None else self.factors[l])

    def variances(self, layout: Layout) -> tuple[list[float], list[float]]:
        """σ_w² = k_in·Var(W) and σ_b² = Var(b) of each layer, as mlpexp/theory takes them.

        Raises ValueError for a scheme that asks the data.
        """
        if self.unit_variance:
            raise ValueError("the variances of lsuv come from the data; measure them on the weights")
        sizes = [(layer.inputs, layer.outputs) for layer in layout.layers]
        of_one = 1 / 3 if self.distribution == "uniform" else 1.0  # drawn with scale 1
        weights = [of_one * k_in * self.scale(layout, l) ** 2 for l, (k_in, _) in enumerate(sizes)]
        if self.distribution == "orthogonal":
            weights = [w2 / max(size) for w2, size in zip(weights, sizes, strict=True)]
        return weights, [of_one * self.biases(*size) ** 2 * layout.bias for size in sizes]


def glorot(gain: float = 1.0, distribution: Independent = "normal") -> Scheme:
    """Var(W) = gain²·2/(k_in + k_out) (Glorot & Bengio 2010)."""
    return _of_variance(lambda k_in, k_out: 2 / (k_in + k_out), gain, distribution)


def he(gain: float = 1.0, distribution: Independent = "normal") -> Scheme:
    """Var(W) = gain²·2/k_in (He et al. 2015)."""
    return _of_variance(lambda k_in, k_out: 2 / k_in, gain, distribution)


def lecun(gain: float = 1.0, distribution: Independent = "normal") -> Scheme:
    """Var(W) = gain²/k_in (LeCun et al. 1998)."""
    return _of_variance(lambda k_in, k_out: 1 / k_in, gain, distribution)


def _of_variance(variance: Callable[[int, int], float], gain: float, distribution: Independent) -> Scheme:
    """Normals of that variance, or uniforms on ±√3 of its root, whose variance is the same."""
    if distribution == "uniform":
        gain *= math.sqrt(3)
    return Scheme(distribution, lambda k_in, k_out: gain * math.sqrt(variance(k_in, k_out)))


def normal(sigma_w: float, sigma_b: float) -> Scheme:
    """Var(W) = σ_w²/k_in, Var(b) = σ_b²."""
    return Scheme("normal", lambda k_in, k_out: sigma_w / math.sqrt(k_in), lambda k_in, k_out: sigma_b)


def critical(sigma_w: Sequence[float], sigma_b: float) -> Scheme:
    """As `normal`, with a σ_w for each layer: what theory's critical line gives for the σ that feeds it."""
    return replace(normal(1.0, sigma_b), factors=tuple(sigma_w))


def orthogonal(gain: float = 1.0) -> Scheme:
    """Every singular value is the gain: a random rotation, or a part of one where k_in ≠ k_out (Saxe et al. 2014)."""
    return Scheme("orthogonal", lambda k_in, k_out: gain)


def lsuv() -> Scheme:
    """Orthogonal weights, to be scaled so that each layer's z has unit variance on a batch (Mishkin & Matas 2016)."""
    return replace(orthogonal(), unit_variance=True)


def torch_default() -> Scheme:
    """torch.nn.Linear: W and b uniform on ±1/√k_in, so σ_w² = 1/3 and signals vanish with depth."""

    def half_width(k_in: int, k_out: int) -> float:
        return 1 / math.sqrt(k_in)

    return Scheme("uniform", half_width, half_width)


SCHEMES: dict[str, Callable[..., Scheme]] = {
    "glorot": glorot, "he": he, "lecun": lecun, "normal": normal, "critical": critical, "orthogonal": orthogonal,
    "lsuv": lsuv, "torch_default": torch_default,
}  # fmt: skip
"""By name, each with its keys of the config."""
