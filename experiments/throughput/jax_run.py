"""The peer in JAX: `jit(vmap(scan))` over many runs, an epoch a call, logging what mlpexp records.

As fast as one would write it: parameters of one run are a list of (W, b), `vmap` adds the lanes, `scan` the steps, XLA
fuses the rest; batches are rows of a permutation, another one for each run. `python jax_run.py --help` tells the keys.
"""

import argparse
import json
import time
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import lax

Tree: TypeAlias = Any
"""Arrays, alone or in lists and tuples of any depth, as `jax.tree` has them: no type tells them apart."""
Sigma: TypeAlias = Callable[[Tree], Tree]

ACTIVATIONS: dict[str, Sigma] = {"tanh": jnp.tanh, "relu": jax.nn.relu}
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


def forward(parameters: Tree, inputs: Tree, shifts: Tree, activation: Sigma) -> Tree:
    """Outputs of every layer; `shifts` are zeros added to each z, whose gradients are the δ of the mean loss."""
    outputs = []
    x = inputs
    for l, ((weight, bias), shift) in enumerate(zip(parameters, shifts, strict=True)):
        z = x @ weight + bias + shift
        x = z if l == len(parameters) - 1 else activation(z)
        outputs.append(x)
    return outputs


def loss_of(parameters: Tree, shifts: Tree, inputs: Tree, labels: Tree, activation: Sigma) -> Tree:
    """Mean cross-entropy, and the outputs of every layer."""
    outputs = forward(parameters, inputs, shifts, activation)
    z = outputs[-1]
    losses = jax.nn.logsumexp(z, axis=1) - jnp.take_along_axis(z, labels[:, None], axis=1)[:, 0]
    return losses.mean(), outputs


def norms(leaves: Tree) -> Tree:
    """Frobenius norm of each matrix."""
    return jnp.stack([jnp.sqrt(jnp.sum(jnp.square(leaf))) for leaf in leaves])


def step(state: Tree, rows: Tree, features: Tree, labels: Tree, activation: Sigma, quantities: str) -> Tree:
    """One update of Adam, and what is logged of it."""
    parameters, means, squares, count = state
    inputs, targets = features[rows], labels[rows]
    shifts = [jnp.zeros((len(rows), weight.shape[1])) for weight, _ in parameters]
    if quantities == "all":
        (loss, outputs), (gradient, deltas) = jax.value_and_grad(loss_of, argnums=(0, 1), has_aux=True)(
            parameters, shifts, inputs, targets, activation
        )
    else:
        (loss, outputs), gradient = jax.value_and_grad(loss_of, has_aux=True)(
            parameters, shifts, inputs, targets, activation
        )
    count = count + 1
    means = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, means, gradient)
    squares = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, squares, gradient)
    first, second = 1 - BETA1**count, 1 - BETA2**count
    update = jax.tree.map(lambda m, v: -1e-3 * (m / first) / (jnp.sqrt(v / second) + EPSILON), means, squares)
    logged = {"loss": loss}
    if quantities != "none":
        logged["gradient_norm"] = norms([weight for weight, _ in gradient])
    if quantities == "all":
        logged["delta_norm"] = norms(deltas) * jnp.sqrt(len(rows))  # δ of each example's own loss
        logged["activation_mean"] = jnp.stack([x.mean() for x in outputs])
        logged["activation_std"] = jnp.stack([x.std() for x in outputs])
        logged["activation_zeros"] = jnp.stack([(x == 0).mean() for x in outputs])
        logged["update_ratio"] = norms([w for w, _ in update]) / norms([w for w, _ in parameters])
    parameters = jax.tree.map(jnp.add, parameters, update)
    return (parameters, means, squares, count), logged


def initial(key: Tree, widths: list[int]) -> Tree:
    """Glorot's normal weights, biases zero."""
    keys = jax.random.split(key, len(widths) - 1)
    return [
        (jax.random.normal(k, (a, b)) * jnp.sqrt(2 / (a + b)), jnp.zeros(b))
        for k, a, b in zip(keys, widths[:-1], widths[1:], strict=True)
    ]


def rate(width: int, depth: int, lanes: int, activation: str, quantities: str, examples: int, seconds: float) -> float:
    """Run-steps a second, compilation left out."""
    widths = [64, *[width] * (depth - 1), 10]
    features = jax.random.normal(jax.random.key(0), (examples, 64))
    labels = jax.random.randint(jax.random.key(1), (examples,), 0, 10)
    sigma = ACTIVATIONS[activation]

    def epoch(state: Tree, key: Tree) -> Tree:
        batches = jax.random.permutation(key, examples).reshape(-1, 64)
        return lax.scan(lambda s, rows: step(s, rows, features, labels, sigma, quantities), state, batches)

    compiled = jax.jit(jax.vmap(epoch), donate_argnums=0)
    parameters = jax.vmap(lambda key: initial(key, widths))(jax.random.split(jax.random.key(2), lanes))
    zeros = jax.tree.map(jnp.zeros_like, parameters)
    state = (parameters, zeros, jax.tree.map(jnp.copy, zeros), jnp.zeros(lanes))
    keys = jax.random.split(jax.random.key(3), lanes)
    state, _ = jax.block_until_ready(compiled(state, keys))
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        state, _ = jax.block_until_ready(compiled(state, keys))
        done += lanes * (examples // 64)
    return done / (time.perf_counter() - began)


def main() -> None:
    """Print the rate as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--depth", type=int, default=9)
    parser.add_argument("--lanes", type=int, default=64)
    parser.add_argument("--activation", choices=ACTIVATIONS, default="tanh")
    parser.add_argument("--quantities", choices=("none", "gradient_norm", "all"), default="all")
    parser.add_argument("--examples", type=int, default=1024)
    parser.add_argument("--seconds", type=float, default=5.0)
    print(json.dumps({"rate": rate(**vars(parser.parse_args()))}))


if __name__ == "__main__":
    main()
