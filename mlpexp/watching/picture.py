"""The gradient's flow of a watched module, as that of a run of our own.

Flow: quantities → **picture** → the user, tracking.
"""

import numpy as np
from numpy.typing import NDArray

from mlpexp.flow_figures import Sheet, gradient_flow
from mlpexp.records import Array


def picture(steps: NDArray[np.int64], signal: Array, title: str) -> Sheet:
    """‖δ_l‖ [t, L] at steps [t], and its profile at the first and the last of them that have one.

    Layers that never have a δ (frozen ones next to the input) stay white. ValueError where there is nothing to draw.
    """
    own = (np.isfinite(signal) & (signal > 0)).any(axis=0)
    whole = np.flatnonzero((np.isfinite(signal) & (signal > 0))[:, own].all(axis=1))
    if not own.any() or not len(whole):
        raise ValueError("there is no step at which every layer has a finite δ above 0: nothing can be drawn")
    return gradient_flow(steps, signal, signal[whole[:1]], signal[whole[-1:]], title)
