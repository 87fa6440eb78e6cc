"""Hessian-vector products of the mean loss, written out: the R-operator on both passes (Pearlmutter 1994).

R{·} is the derivative along a direction V of the parameters. Without batch norm and dropout.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mlpexp.kernel.arithmetic import product
from mlpexp.kernel.measurements.step import Probe
from mlpexp.kernel.network import Network, Trace


@dataclass(frozen=True)
class Curvature:
    """What all Hessian-vector products at one place Θ share; lists have an entry a layer, [R, E, units].

    `slopes` are σ′(z), `bends` are ∂ℓ/∂X_{l+1} σ″(z) of hidden layers.
    """

    network: Network
    probe: Probe
    trace: Trace
    deltas: list[Tensor]
    slopes: list[Tensor]
    bends: list[Tensor]

    @classmethod
    def at(cls, network: Network, probe: Probe) -> "Curvature":
        """At the network's parameters, in their precision."""
        like = network.parameters
        probe = Probe(probe.inputs.to(like), probe.targets.to(like), probe.loss)
        trace = probe.passed(network)
        layout = network.layout
        _, delta = probe.loss(trace.z[-1], probe.targets)
        deltas, slopes, bends = [delta], list[Tensor](), list[Tensor]()
        signal = delta
        for l in reversed(range(layout.depth - 1)):
            back = product(deltas[0], network.weights[l + 1].transpose(1, 2))
            signal = back + signal if layout.layers[l + 1].skip else back
            activation, z, x = network.activations[l], trace.z[l], trace.activated[l]
            assert activation.second_derivative is not None  # runs with another are refused: measurability.py
            slopes.insert(0, activation.derivative(z, x, torch.empty_like(z)))
            bends.insert(0, activation.second_derivative(z, x, torch.empty_like(z)).mul_(signal))
            deltas.insert(0, signal * slopes[0])
        return cls(network, probe, trace, deltas, slopes, bends)

    def product(self, direction: Tensor) -> Tensor:
        """H V, [R, P], for V [R, P]."""
        network, layout, last = self.network, self.network.layout, self.network.layout.depth - 1
        arrivals, changes = self._forward(direction)
        image = torch.empty_like(network.parameters)
        delta = self.probe.loss.curvature(self.trace.z[last], self.probe.targets, changes[last])
        passed = delta
        for l in reversed(range(layout.depth)):
            along = product(self.trace.inputs[l].transpose(1, 2), delta)
            if l > 0:
                along += product(arrivals[l].transpose(1, 2), self.deltas[l])
            layout.weight(image, l).copy_(along.div_(self.trace.rows))
            if layout.bias:
                layout.biases(image, l).copy_(delta.sum(dim=1) / self.trace.rows)
            if l > 0:
                back = product(delta, network.weights[l].transpose(1, 2))
                back += product(self.deltas[l], layout.weight(direction, l).transpose(1, 2))
                passed = back + passed if layout.layers[l].skip else back
                delta = passed * self.slopes[l - 1] + self.bends[l - 1] * changes[l - 1]
        return image

    def _forward(self, direction: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """R{X_l} and R{z_l} of each layer; R{X_1}, which is 0, is an empty tensor."""
        network, layout = self.network, self.network.layout
        arrivals, changes = [direction.new_empty(0)], list[Tensor]()
        for l, weight in enumerate(network.weights):
            change = product(self.trace.inputs[l], layout.weight(direction, l))
            if l > 0:
                change += product(arrivals[l], weight)
            if layout.bias:
                change += layout.biases(direction, l)[:, None]
            changes.append(change)
            if l < layout.depth - 1:
                arrival = self.slopes[l] * change
                arrivals.append(arrival + arrivals[l] if layout.layers[l].skip else arrival)
        return arrivals, changes
