"""From a layer's output to what the next layer takes for its activation: follows a tensor through torch's functions.

Flow: a layer's z → **following** → passes, probe. Modules (nn.ReLU) and functions (functional.relu, torch.relu,
z.relu()) are seen alike, for both end in the same call.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import ReferenceType, ref

from torch import Tensor
from torch.overrides import TorchFunctionMode

from mlpexp.watching.layers import Layer

SIGMAS = {
    "relu", "relu_", "leaky_relu", "leaky_relu_", "elu", "elu_", "selu", "selu_", "celu", "celu_", "gelu", "silu",
    "mish", "sigmoid", "sigmoid_", "tanh", "tanh_", "softplus", "softsign", "hardtanh", "hardtanh_", "relu6",
    "hardswish", "hardsigmoid", "logsigmoid", "prelu", "rrelu", "rrelu_", "threshold", "threshold_", "softshrink",
    "hardshrink", "tanhshrink",
}  # fmt: skip
"""What torch calls its activations, applied to each number alone."""
NORMS = {"batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm", "local_response_norm"}
ON_THE_WAY = NORMS | {
    "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout",
    "flatten", "view", "reshape", "unflatten", "squeeze", "unsqueeze", "contiguous", "permute", "transpose", "movedim",
    "to", "float", "double", "half", "bfloat16",
}  # fmt: skip
"""What may stand between a layer and its activation."""
POOLING = re.compile(r"(adaptive_)?(max|avg|lp)_pool[123]d")
QUESTIONS = {
    "__get__",
    "size",
    "dim",
    "numel",
    "stride",
    "detach",
    "register_hook",
    "__repr__",
    "__format__",
    "__len__",
}
"""Calls that ask a tensor for something and go no further with it."""


@dataclass(eq=False)
class Chain:
    """One layer's output on its way: `x` is where it is now, `sigma` the activation that it went through.

    `is_gate` says that what went into the activation was used beside it, too: z·sigmoid(z) by hand is none we know.
    """

    layer: Layer
    x: Tensor
    sigma: str | None = None
    is_gate: bool = False

    def follows(self, function: str) -> bool:
        """Whether a function of x leads on to the layer's activation."""
        if self.sigma is None:
            return function in SIGMAS or function in ON_THE_WAY or POOLING.fullmatch(function) is not None
        return function in NORMS


class Following(TorchFunctionMode):
    """While it is entered, chains go on with what torch's functions make of them.

    `ended` is told of each chain whose x is about to be changed in place; the others are still in `chains` afterwards.
    `activated` is told the chain, the function and its arguments before an activation is applied.
    """

    def __init__(
        self,
        ended: Callable[[Chain], None],
        activated: Callable[[Chain, Callable[..., Any], Sequence[Any], dict[str, Any]], None] | None = None,
    ) -> None:
        super().__init__()
        self.ended, self.activated = ended, activated
        self.chains: dict[int, Chain] = {}
        self.sources: dict[int, tuple[ReferenceType[Tensor], Chain]] = {}  # weak: they need not live as long as a pass

    def track(self, layer: Layer, z: Tensor) -> None:
        """A layer has put out z."""
        self.chains[id(z)] = Chain(layer, z)

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """Call the function, and see whose output it was called on."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if not self.chains or name in QUESTIONS:
            return func(*args, **kwargs)
        first = args[0] if args else kwargs.get("input")
        chain = self.chains.get(id(first))
        if chain is not None and chain.follows(name):
            if name in SIGMAS and self.activated is not None:
                self.activated(chain, func, args, kwargs)
            out = func(*args, **kwargs)
            self._go_on(chain, name, out[0] if isinstance(out, tuple) else out)
            return out
        in_place = re.fullmatch(r"__(i\w+|setitem)__|\w*[^_]_", name) is not None or kwargs.get("inplace") is True
        self._see(args, in_place)
        return func(*args, **kwargs)

    def _go_on(self, chain: Chain, name: str, out: Tensor) -> None:
        del self.chains[id(chain.x)]
        if name in SIGMAS:
            chain.sigma = name.removesuffix("_")
            if out is not chain.x:
                self.sources[id(chain.x)] = ref(chain.x), chain
        chain.x = out
        self.chains[id(out)] = chain

    def _see(self, args: Sequence[Any], in_place: bool) -> None:
        """Tensors are used by a function that is not followed, and that may change them in place."""
        for one in args:
            for tensor in one if isinstance(one, list | tuple) else (one,):
                source, chain = self.sources.get(id(tensor), (lambda: None, None))
                if chain is not None and source() is tensor:
                    chain.is_gate = True
                if in_place and id(tensor) in self.chains:
                    self.ended(self.chains.pop(id(tensor)))
