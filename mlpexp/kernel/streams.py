"""Random numbers as pure functions: a stream is hash(seed, purpose), an epoch's place in it a counter.

Nothing is drawn in sequence across epochs, so a lane's numbers depend neither on its company nor on a restart.
"""

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlpexp.kernel.budget import updates_per_epoch


def stream(seed: int, purpose: str, epoch: int = 0) -> np.random.Generator:
    """The generator of (seed, purpose, epoch): Philox keyed by the SHA-256 of the first two."""
    return np.random.Generator(np.random.Philox(key=stream_key(seed, purpose), counter=epoch << 128))


def stream_key(seed: int, purpose: str) -> int:
    """hash(seed, purpose): 128 bits, so that streams of different seeds or purposes have nothing in common."""
    return int.from_bytes(hashlib.sha256(f"{purpose}:{seed}".encode()).digest()[:16], "little")


def epoch_batches(sampler: str, seed: int, epoch: int, examples: int, batch_size: int) -> list[NDArray[np.int64]]:
    """Row numbers of each batch of an epoch.

    `full`: all rows, in order. `epoch`: a permutation, cut; the last batch may be short. `fresh`: an independent
    random subset each time, without replacement inside one.
    """
    if sampler == "full":
        return [np.arange(examples)]
    generator = stream(seed, "batches", epoch)
    updates = updates_per_epoch(examples, batch_size, sampler)
    if sampler == "epoch":
        order = generator.permutation(examples)
        return [order[i * batch_size : (i + 1) * batch_size] for i in range(updates)]
    return [generator.choice(examples, size=batch_size, replace=False) for _ in range(updates)]


def dropout_mask(generator: np.random.Generator, share: float, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """1/(1 − share) where a unit stays, 0 where it is switched off (inverted dropout, Srivastava et al. 2014)."""
    if share == 0:
        return torch.ones(shape, dtype=dtype)
    stays = torch.from_numpy(generator.random(shape, dtype=np.float32) >= share)
    return stays.to(dtype) / (1 - share)
