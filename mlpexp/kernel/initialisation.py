"""Initial weights: the same normals (or uniforms) of a seed, scaled as a scheme says."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from mlpexp.kernel.layout import Layout
from mlpexp.kernel.streams import stream


@dataclass(frozen=True)
class Scheme:
    """Standard deviation (or half-width, if uniform) of weights and biases as functions of (k_in, k_out)."""

    distribution: Literal["normal", "uniform"]
    weights: Callable[[int, int], float]
    biases: Callable[[int, int], float] = lambda k_in, k_out: 0.0

    def variances(self, layout: Layout) -> tuple[list[float], list[float]]:
        """σ_w² = k_in·Var(W) and σ_b² = Var(b) of each layer, as mlpexp/theory takes them."""
        sizes = [(layer.inputs, layer.outputs) for layer in layout.layers]
        unit = 1.0 if self.distribution == "normal" else 1 / 3
        return (
            [unit * k_in * self.weights(k_in, k_out) ** 2 for k_in, k_out in sizes],
            [unit * self.biases(k_in, k_out) ** 2 * layout.bias for k_in, k_out in sizes],
        )


def glorot(gain: float = 1.0) -> Scheme:
    """Var(W) = gain²·2/(k_in + k_out) (Glorot & Bengio 2010)."""
    return Scheme("normal", lambda k_in, k_out: gain * math.sqrt(2 / (k_in + k_out)))


def he(gain: float = 1.0) -> Scheme:
    """Var(W) = gain²·2/k_in (He et al. 2015)."""
    return Scheme("normal", lambda k_in, k_out: gain * math.sqrt(2 / k_in))


def lecun(gain: float = 1.0) -> Scheme:
    """Var(W) = gain²/k_in (LeCun et al. 1998)."""
    return Scheme("normal", lambda k_in, k_out: gain * math.sqrt(1 / k_in))


def normal(sigma_w: float, sigma_b: float) -> Scheme:
    """Var(W) = σ_w²/k_in, Var(b) = σ_b²."""
    return Scheme("normal", lambda k_in, k_out: sigma_w / math.sqrt(k_in), lambda k_in, k_out: sigma_b)


def torch_default() -> Scheme:
    """torch.nn.Linear: W and b uniform on ±1/√k_in, so σ_w² = 1/3 and signals vanish with depth."""

    def half_width(k_in: int, k_out: int) -> float:
        return 1 / math.sqrt(k_in)

    return Scheme("uniform", half_width, half_width)


SCHEMES: dict[str, Callable[..., Scheme]] = {
    "glorot": glorot, "he": he, "lecun": lecun, "normal": normal, "torch_default": torch_default,
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
            scale = scheme.weights(layer.inputs, layer.outputs)
            layout.weight(rows, l)[lane] = _draw(weights, scheme, (layer.inputs, layer.outputs)) * scale
            if layout.bias:
                layout.biases(rows, l)[lane] = _draw(biases, scheme, (layer.outputs,)) * scheme.biases(
                    layer.inputs, layer.outputs
                )
    return rows.to(dtype)


def _draw(generator: np.random.Generator, scheme: Scheme, shape: tuple[int, ...]) -> Tensor:
    """Standard normals, or uniforms on ±1."""
    if scheme.distribution == "normal":
        return torch.from_numpy(generator.standard_normal(shape))
    return torch.from_numpy(generator.uniform(-1.0, 1.0, shape))
