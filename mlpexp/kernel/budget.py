"""How updates, examples and FLOPs count up while a network trains: what a budget in one of them is in updates.

Plain whole numbers, no torch: planning reckons with the same counts as training.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


def updates_per_epoch(examples: int, batch_size: int, sampler: str) -> int:
    """⌈n/m⌉, or 1 for gradient descent on all examples."""
    return 1 if sampler == "full" else -(-examples // batch_size)


def is_evaluation(step: int, updates_per_epoch: int, evaluate_every: int) -> bool:
    """Whether a run is evaluated after so many updates even if it goes on."""
    return step % (evaluate_every * updates_per_epoch) == 0


def flops_per_example(widths: Sequence[int]) -> int:
    """FLOPs of one example in one update, of matrix products alone: 2(3 Σ k_l k_{l+1} − k_1 k_2).

    A multiplication and an addition for each weight: forward, for the weight's gradient, and for the gradient that is
    passed back, which layer 1 does not need. Biases, activations, the update rule and evaluations are not counted.
    """
    weights = [inputs * outputs for inputs, outputs in pairwise(widths)]
    return 2 * (3 * sum(weights) - weights[0])


@dataclass(frozen=True)
class Pace:
    """What each update costs: `examples` n of the training part, `flops` of one example."""

    examples: int
    batch_size: int
    sampler: str
    flops: int

    @property
    def updates_per_epoch(self) -> int:
        """Updates of one epoch."""
        return updates_per_epoch(self.examples, self.batch_size, self.sampler)

    def examples_seen(self, updates: int) -> int:
        """Examples in the batches of so many updates; the last batch of a permutation may be short."""
        if self.sampler == "fresh":
            return updates * self.batch_size
        epochs, rest = divmod(updates, self.updates_per_epoch)
        return epochs * self.examples + min(rest * self.batch_size, self.examples)

    def updates_within(self, examples: int) -> int:
        """The most updates whose batches have no more than so many examples."""
        if self.sampler == "fresh":
            return examples // self.batch_size
        epochs, rest = divmod(examples, self.examples)
        return epochs * self.updates_per_epoch + (0 if self.sampler == "full" else rest // self.batch_size)

    def updates(self, epochs: int | None, updates: int | None, examples: int | None, flops: int | None) -> int:
        """Updates of a budget, which is named in one of these; one of examples or FLOPs is never exceeded."""
        if epochs is not None:
            return epochs * self.updates_per_epoch
        if updates is not None:
            return updates
        if examples is None:
            assert flops is not None
            examples = flops // self.flops
        return self.updates_within(examples)

    def spent(self, updates: int) -> dict[str, int | float]:
        """What so many updates took, in every unit that a budget is named in."""
        examples = self.examples_seen(updates)
        epochs = updates / self.updates_per_epoch
        return {"updates": updates, "epochs": epochs, "examples": examples, "flops": examples * self.flops}
