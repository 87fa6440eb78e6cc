"""Initial weights: the same normals (or uniforms) of a seed, scaled as a scheme says, or made orthogonal."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mlpexp.kernel.layout import Layout
from mlpexp.kernel.schemes import Scheme
from mlpexp.kernel.streams import stream


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
