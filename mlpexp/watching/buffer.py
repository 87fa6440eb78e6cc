"""Rows of numbers that stay on the device until there are many of them, and then go to another thread.

Flow: watch → **buffer** → quantities. The loop neither waits for the device nor for whoever reads the numbers.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlpexp.records import Array
from mlpexp.watching.quantities import Recipe, worked_out

Piece = tuple[NDArray[np.int64], dict[str, Array]]
"""Steps [t], and quantity → [t, L …] at them."""


@dataclass(frozen=True)
class Row:
    """The numbers of one step, [n], and what they are; the last one says whether the optimizer skipped the update."""

    step: int
    recipe: Recipe
    numbers: Tensor


class Buffer:
    """Takes a row at a time and hands `read` pieces, in order, in a thread of its own."""

    def __init__(self, read: Callable[[Piece], None], block: int) -> None:
        self.read, self.block = read, block
        self.rows: list[Row] = []
        self.thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mlpexp-watch")
        self.told: list[Future[None]] = []

    def add(self, row: Row) -> None:
        """One more step."""
        self.rows.append(row)
        if len(self.rows) >= self.block:
            self.send()

    def send(self) -> None:
        """Set what is there on its way, without waiting for it to arrive."""
        for recipe, group in groupby(self.rows, key=lambda row: row.recipe):
            rows = list(group)
            numbers = torch.stack([row.numbers for row in rows])
            steps = np.array([row.step for row in rows])
            self.told.append(self.thread.submit(self._arrived, recipe, steps, *_on_its_way(numbers)))
        self.rows = []

    def settle(self) -> None:
        """Wait until all of it was read; raises what reading raised."""
        self.send()
        told, self.told = self.told, []
        for one in told:
            one.result()

    def close(self) -> None:
        """Settle, and end the thread."""
        try:
            self.settle()
        finally:
            self.thread.shutdown()

    def _arrived(
        self, recipe: Recipe, steps: NDArray[np.int64], numbers: Tensor, event: "torch.cuda.Event | None"
    ) -> None:
        if event is not None:
            event.synchronize()
        values = numbers.numpy()
        made = values[:, -1] == 0
        if made.any():
            self.read((steps[made], worked_out(recipe, values[made, :-1])))


def _on_its_way(numbers: Tensor) -> tuple[Tensor, "torch.cuda.Event | None"]:
    """The numbers in the processor's memory once the event has happened; they are there already where it is None."""
    if numbers.device.type != "cuda":
        return numbers.to("cpu"), None
    place = torch.empty(numbers.shape, dtype=numbers.dtype, pin_memory=True)
    place.copy_(numbers, non_blocking=True)
    event = torch.cuda.Event()
    event.record()
    return place, event
