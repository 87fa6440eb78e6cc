"""Initial weights: the same normals (or uniforms) of a seed, scaled as a scheme says, or made orthogonal."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from mlpexp.kernel.layout import Layout
from mlpexp.kernel.streams import stream

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


def initial_parameters(
    layout: Layout, schemes: Sequence[Scheme], seeds: Sequence[int], dtype: torch.dtype = torch.float32
) -> Tensor:
    """Θ at the start, [R, P]. Weights and biases have streams of their own, so leaving biases out moves no weight."""
    rows = torch.zeros(len(seeds), layout.size, dtype=torch.float64)
    for lane, (scheme, seed) in enumerate(zip(schemes, seeds, strict=True)):
        weights, biases = stream(seed, "initialisation"), stream(seed, "initialisation.biases")
        for l, layer in enumerate(layout.layers):
            drawn = _draw(weights, scheme, (layer.inputs, layer.outputs))
            drawn = orthonormal(drawn) if scheme.distribution == "orthogonal" else drawn
            layout.weight(rows, l)[lane] = drawn * scheme.scale(layout, l)
            if layout.bias:
                layout.biases(rows, l)[lane] = _draw(biases, scheme, (layer.outputs,)) * scheme.biases(
                    layer.inputs, layer.outputs
                )
    return rows.to(dtype)


def _draw(generator: np.random.Generator, scheme: Scheme, shape: tuple[int, ...]) -> Tensor:
    """Standard normals, or uniforms on ±1."""
    if scheme.distribution == "uniform":
        return torch.from_numpy(generator.uniform(-1.0, 1.0, shape))
    return torch.from_numpy(generator.standard_normal(shape))


def orthonormal(normals: Tensor) -> Tensor:
    """Q of normals [a, b] = QR, by columns or by rows, whichever are fewer; R's diagonal made positive.

    Without that correction Q is not uniformly distributed (Mezzadri 2007). torch's QR, as its products: numpy's has
    other bits with another number of threads.
    """
    tall = normals if normals.shape[0] >= normals.shape[1] else normals.T
    q, r = torch.linalg.qr(tall)
    q = torch.where(r.diagonal() < 0, -q, q)
    return q if tall is normals else q.T
