"""Layer-sequential unit variance (Mishkin & Matas 2016): a batch decides how large each layer's weights are.

Flow: initialisation (orthogonal weights) → **lsuv** → training. Called once, for the lanes of that scheme.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlpexp.kernel.network import Network, Trace, forward
from mlpexp.kernel.streams import stream


def scale_to_unit_variance(network: Network, inputs: Tensor) -> None:
    """Divide each W_l, from the first to the last, by the standard deviation of X_l W_l over examples and units.

    `inputs` are [R, B, q], a batch for each lane; weights change in place. One division is enough: X_l W_l is linear in
    W_l, and biases do not count. A layer whose X_l W_l does not vary on the batch keeps its weights.
    """

    def rescale(l: int, product: Tensor) -> None:
        count = product.shape[1] * product.shape[2]
        wide = product.to(torch.float64)
        centred = wide - (wide.sum(dim=(1, 2), keepdim=True) / count)
        spread = torch.linalg.vector_norm(centred, dim=(1, 2), keepdim=True) / count**0.5
        factor = torch.reciprocal(torch.where(spread > 0, spread, 1.0)).to(product.dtype)
        product *= factor
        network.weights[l].mul_(factor)

    forward(network, inputs, Trace(network, inputs.shape[1]), after_product=rescale)


def batch_of(seed: int, examples: int, rows: int) -> NDArray[np.int64]:
    """Numbers of the rows that a lane's weights are scaled on: `examples` of them, or all if there are fewer."""
    return stream(seed, "initialisation.batch").choice(rows, size=min(examples, rows), replace=False)
