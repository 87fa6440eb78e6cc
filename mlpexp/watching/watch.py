"""`mlpexp.watch`: measures the layers of a torch module while someone else's loop trains it.

Flow: module, optimizer → **watch** → watched. What a loop may ask for, and what is refused.
"""

from collections.abc import Sequence
from typing import Any, get_args

import torch
from torch import nn

from mlpexp.watching.watched import Reduction, Watched

REDUCTIONS: tuple[str, ...] = get_args(Reduction)


def watch(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    quantities: str | Sequence[str] = "basic",
    every: int = 1,
    layers: Sequence[str] | None = None,
    probe: Any = None,
    reduction: Reduction = "mean",
    scaler: "torch.amp.GradScaler | None" = None,
    run_id: str | None = None,
    prefix: str = "",
) -> Watched:
    """Measure every Linear and Conv layer of a module, once an update of its optimizer, until it is closed.

    >>> import mlpexp, torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    >>> with mlpexp.watch(net, optimizer) as watched:
    ...     for _ in range(5):
    ...         torch.nn.functional.cross_entropy(net(torch.randn(16, 4)), torch.randint(2, (16,))).backward()
    ...         optimizer.step()
    ...         optimizer.zero_grad()
    >>> watched["delta_norm"].shape  # (steps, layers)
    (5, 2)

    The numbers are those of `mlpexp measurements`, with the same names: row t is the state after `steps[t]` updates,
    and `update_ratio` is of the update that follows. Nothing of the training changes, to the bit, and no number is
    waited for: sums stay on the device, and a thread of its own works out the rest. They go to the active MLflow run
    or to that of `run_id`, at log-spaced steps, with the whole record and a picture of the gradient's flow when it is
    closed; where there is no run they are in `table()`, `watched[quantity]` and `plot()` alone. `prefix`
    ("generator/") tells several watched modules of a run apart.

    `quantities`: basic, full, or names. Scalars are measured at every `every`-th update; histograms, spectral norms and
    dead units at log-spaced ones. What is undefined here `left_out` tells with the reason; asked for by name it is a
    ValueError. `layers`: names of the layers, first the one next to the input; without it all, as the module defines
    them. `probe`: inputs on which dead units are looked for (a tuple is unpacked).

    What the letters mean in a module of one's own:

    - Examples are the first dimension of what the module is called with. δ_i is the derivative of example i's own loss:
      `reduction` says what the loss is over a batch, "mean" or "sum". Several backward passes before an update are
      micro-batches; with "mean" their losses are taken to be divided by their number, with "added" they are means that
      are added up. Gradients are as backward passes leave them, before clipping; with "sum" divided by the examples.
    - δ of a convolution is summed over channels and places, as that of a dense layer over units, so that norms of
      neighbours compare: ‖δ_l‖² is the squared length of everything that comes back to z_l.
    - A layer's output X_{l+1} is what torch's activation function makes of z_l, on the way to which may stand norms,
      pooling, dropout and changes of shape; a norm right behind it belongs to it, dropout and pooling do not. Where no
      such function takes it (the last layer, a residual sum) it is z_l. Mean, deviation and zeros go over examples,
      channels and places.
    - A pass counts if `backward()` goes through it to a watched weight: evaluation between updates does not, nor
      `torch.autograd.grad`. A layer that is called twice in a pass has no δ and no outputs of its own. What is frozen
      has outputs, and no gradient.
    - A layer whose weight is used without calling it (the last one of nn.MultiheadAttention) has a gradient alone.
      nn.TransformerEncoderLayer evaluates without its fast path while it has hooks, which may round differently.
    - torch.compile comes after watching, and its graph is then cut at every layer: measure in a run that is not timed.
    - With mixed precision give the `scaler`: gradients are told without its factor, updates it skips are not there.
    """
    _check(module, optimizer, every, reduction)
    return Watched(module, optimizer, quantities, every, layers, probe, reduction, scaler, run_id, prefix)


def _check(module: nn.Module, optimizer: torch.optim.Optimizer, every: int, reduction: str) -> None:
    """Refuse what cannot be watched, or what nobody can have meant."""
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise ValueError(
            f"watch: {type(optimizer).__name__} is no torch.optim.Optimizer; give the one that makes the updates"
        )
    if isinstance(optimizer, torch.optim.LBFGS):
        raise ValueError("watch: LBFGS looks at the loss several times in a step; there is no gradient of the step")
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise ValueError(f"watch: every must be a number of updates from 1 on, got {every!r}")
    if reduction not in REDUCTIONS:
        raise ValueError(f"watch: reduction may be {', '.join(REDUCTIONS)}; got {reduction!r}")
    own = {id(one) for one in module.parameters()}
    if not any(id(one) in own for group in optimizer.param_groups for one in group["params"]):
        raise ValueError(
            "watch: the optimizer updates none of the module's parameters; was it made for another module or a copy?"
        )
