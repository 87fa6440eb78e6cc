"""Nets of threshold units, designed from a Boolean expression: no training, and every function is within reach.

Flow: boolean_expression → **mcculloch_pitts** → chapters.

McCulloch & Pitts, Bull. Math. Biophys. 5 (1943) 115–133: a unit is on or off, and fires one step after its inputs
reach its threshold. In their form a single active inhibitory input forbids firing (absolute inhibition). Here a unit
has signed integer weights and fires where Σ w x ≥ θ. Both have the same power: a weight of −(sum of the positive
weights) + θ − 1 or less forbids as absolutely; and what signed weights can do, nets of theirs can: an AND of inputs
and negated inputs is one unit of theirs (count the former as excitatory with that threshold, let the latter inhibit),
an OR another, and every Boolean function is an OR of such ANDs.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mlpexp.lineage.boolean_expression import Bits, Expression, Node
from mlpexp.refusals import ConfigError

MOST_INPUTS = 16  # 65536 rows of a truth table


@dataclass(frozen=True)
class Unit:
    """Fires where Σ weight · source ≥ threshold. `weights` are (source, weight); sources are inputs, then units."""

    weights: tuple[tuple[int, int], ...]
    threshold: int
    says: str = field(compare=False)
    """What it computes, for people: AND, OR, NOT, 2 of 3."""


@dataclass(frozen=True)
class Net:
    """`units` in an order in which each only listens to inputs and to units before it; the last one is the output."""

    inputs: list[str]
    output: str
    units: list[Unit]

    @property
    def levels(self) -> list[int]:
        """Of each unit: the longest way to it from the inputs, in units; it is right after so many steps."""
        levels = [0] * len(self.inputs)
        for unit in self.units:
            levels.append(1 + max((levels[source] for source, _ in unit.weights), default=0))
        return levels[len(self.inputs) :]

    @property
    def depth(self) -> int:
        """Level of the output."""
        return self.levels[-1]

    @property
    def connections(self) -> int:
        """Weights that are not zero."""
        return sum(len(unit.weights) for unit in self.units)

    def fire(self, rows: Bits) -> Bits:
        """All units once they have settled, [rows, units], for inputs held at `rows` [rows, inputs]."""
        states = np.zeros((len(rows), len(self.inputs) + len(self.units)), dtype=np.int64)
        states[:, : len(self.inputs)] = rows
        for place, unit in enumerate(self.units, start=len(self.inputs)):
            states[:, place] = _fires(unit, states)
        return states[:, len(self.inputs) :].astype(bool)

    def step(self, rows: Bits, units: Bits) -> Bits:
        """All units one step later, [rows, units]: every unit sees what the others did a step before."""
        states = np.concatenate([rows, units], axis=1).astype(np.int64)
        return np.stack([_fires(unit, states) for unit in self.units], axis=1)

    def evaluate(self, rows: Bits) -> Bits:
        """The output, [rows]."""
        return self.fire(rows)[:, -1]


def _fires(unit: Unit, states: NDArray[np.int64]) -> Bits:
    total = np.zeros(len(states), dtype=np.int64)
    for source, weight in unit.weights:
        total += weight * states[:, source]
    fires: Bits = total >= unit.threshold
    return fires


def all_rows(inputs: int) -> Bits:
    """Every input, [2^inputs, inputs], counted upwards with the first input as the highest digit."""
    numbers = np.arange(2**inputs)[:, None]
    return (numbers >> np.arange(inputs)[::-1] & 1).astype(bool)


def compile_net(expression: Expression) -> Net:
    """A net that computes the expression, built from the inside out; equal units are built once.

    AND and OR are one unit each, XOR of k parts is k + 1 units in two levels; `not` costs nothing, since the unit that
    listens turns its weight round. Raises ConfigError beyond `MOST_INPUTS` inputs.
    """
    if len(expression.inputs) > MOST_INPUTS:
        raise ConfigError([
            f"the expression has {len(expression.inputs)} inputs, a truth table of 2^{len(expression.inputs)} rows; "
            f"at most {MOST_INPUTS} are allowed"
        ])  # fmt: skip
    builder = Builder(expression.inputs)
    builder.finish(builder.build(expression.tree))
    return Net(expression.inputs, expression.output, builder.units)


@dataclass(frozen=True)
class Signal:
    """What a source says, or its opposite."""

    source: int
    negated: bool = False


class Builder:
    """Units so far, and the way from a part of the expression to the signal that carries it."""

    def __init__(self, inputs: list[str]) -> None:
        self.inputs, self.units = inputs, list[Unit]()

    def build(self, node: Node) -> Signal:
        """The signal that equals a part of the expression."""
        match node.kind:
            case "input":
                return Signal(self.inputs.index(node.name))
            case "constant":
                return self.unit([], 0 if node.value else 1, str(node.value))
            case "not":
                inner = self.build(node.parts[0])
                return Signal(inner.source, not inner.negated)
            case "and":
                signals = [self.build(part) for part in flat(node, "and")]
                return self.unit(signals, len(signals), "AND")
            case "or":
                return self.unit([self.build(part) for part in flat(node, "or")], 1, "OR")
            case _:
                return self.parity([self.build(part) for part in flat(node, "xor")])

    def parity(self, signals: list[Signal]) -> Signal:
        """Whether an odd number of signals is on: units for ≥ 1, ≥ 2, …, of which the odd ones excite."""
        most = len(signals)
        says = ["OR", *(f"{least} of {most}" for least in range(2, most)), "AND"]
        counts = [self.unit(signals, least, word) for least, word in enumerate(says, start=1)]
        weights = [(count.source, 1 if least % 2 else -1) for least, count in enumerate(counts, start=1)]
        return self.add(weights, 1, "XOR")

    def unit(self, signals: list[Signal], least: int, says: str) -> Signal:
        """A unit that fires where at least so many of the signals are on; 1 − x counts a negated one."""
        weights = [(signal.source, -1 if signal.negated else 1) for signal in signals]
        return self.add(weights, least - sum(signal.negated for signal in signals), says)

    def add(self, weights: list[tuple[int, int]], threshold: int, says: str) -> Signal:
        """That unit, or the equal one that is there already; weights of one source are added up."""
        sums: dict[int, int] = {}
        for source, weight in weights:
            sums[source] = sums.get(source, 0) + weight
        unit = Unit(tuple(sorted((source, weight) for source, weight in sums.items() if weight)), threshold, says)
        if unit not in self.units:
            self.units.append(unit)
        return Signal(len(self.inputs) + self.units.index(unit))

    def finish(self, result: Signal) -> None:
        """Make the last unit say the result: turn it round where it says the opposite, else add one that listens."""
        is_last = result.source >= len(self.inputs) and result.source == len(self.inputs) + len(self.units) - 1
        if is_last and result.negated:
            last = self.units.pop()  # ¬(Σ w x ≥ θ) is Σ −w x ≥ 1 − θ, in whole numbers
            turned = tuple((source, -weight) for source, weight in last.weights)
            self.units.append(Unit(turned, 1 - last.threshold, f"not {last.says}"))
        elif not is_last:
            weight, threshold, says = (-1, 0, "NOT") if result.negated else (1, 1, "the same")
            self.units.append(Unit(((result.source, weight),), threshold, says))


def flat(node: Node, kind: str) -> list[Node]:
    """The parts of nested nodes of one kind: (a and b) and c are three parts of one AND."""
    return [inner for part in node.parts for inner in (flat(part, kind) if part.kind == kind else [part])]
