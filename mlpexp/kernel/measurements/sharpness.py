"""Sharpness, [R]: the largest eigenvalue of the loss's Hessian, by Lanczos' method on Hessian-vector products."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.linalg import vector_norm

from mlpexp.kernel.arithmetic import largest_eigenvalue
from mlpexp.kernel.measurements.hessian import Curvature
from mlpexp.kernel.measurements.step import Step
from mlpexp.kernel.network import Network

ITERATIONS = 30


def sharpness(step: Step) -> Tensor:
    """Largest eigenvalue of the Hessian of the mean loss on the probe, without penalty and dropout, [R]."""
    network = step.network
    double = Network(network.layout, network.activations, network.rows.to(torch.float64))
    curvature = Curvature.at(double, step.probe)
    return lanczos(curvature.product, double.parameters)


def lanczos(multiply: Callable[[Tensor], Tensor], like: Tensor) -> Tensor:
    """Largest eigenvalue of each lane's symmetric operator on rows [R, P], by 30 steps of Lanczos' method (1950).

    Vectors are not orthogonalised again: copies of an eigenvalue appear, and the largest stays what it is (Paige 1971).
    All lanes start from the same vector. NaN where a product is not finite.
    """
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(like.shape[1], generator=generator, dtype=like.dtype).to(like.device)
    vector = (start / vector_norm(start, dim=0)).expand_as(like)
    previous, beta, first = torch.zeros_like(like), like.new_zeros(len(like), 1), like.new_zeros(len(like), 1)
    steps = min(ITERATIONS, like.shape[1])
    tridiagonal = like.new_zeros(len(like), steps, steps)
    for j in range(steps):
        image = multiply(vector) - beta * previous
        alpha = (image * vector).sum(dim=1, keepdim=True)
        first = alpha if j == 0 else first
        over = (beta == 0) if j else torch.zeros_like(beta, dtype=torch.bool)
        # once the space is exhausted, the first α stands for the rest: no eigenvalue is below it and above the largest
        tridiagonal[:, j, j] = torch.where(over, first, alpha)[:, 0]
        image = image - alpha * vector
        size = vector_norm(image, dim=1, keepdim=True)
        scale = torch.where(alpha.abs() > first.abs(), alpha.abs(), first.abs())
        beta = torch.where(size > 1e-12 * scale, size, torch.where(torch.isfinite(size), 0.0, size))
        if j + 1 < steps:
            tridiagonal[:, j, j + 1] = tridiagonal[:, j + 1, j] = beta[:, 0]
        previous, vector = vector, torch.where(beta == 0, 0.0, image / torch.where(beta == 0, 1.0, beta))
    return largest_eigenvalue(tridiagonal)
