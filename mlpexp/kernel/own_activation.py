"""An activation from the text of a user's own file, which defines

    def value(z): …          # σ(z), by torch's elementwise functions, in a tensor of its own
    def derivative(z, x): …  # σ′(z), given x = σ(z)

The text is executed as Python code, with all rights of the process: whoever names the file trusts it.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any

from torch import Tensor

from mlpexp.kernel.activations import Activation


def functions_of(source: str, file: str) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]:
    """`value` and `derivative` as the text defines them; raises whatever executing it raises."""
    module: Any = ModuleType("own_activation")
    module.__file__ = file
    exec(compile(source, file, "exec", dont_inherit=True), module.__dict__)
    if not callable(getattr(module, "value", None)) or not callable(getattr(module, "derivative", None)):
        raise NameError("the file must define value(z) and derivative(z, x)")
    return module.value, module.derivative


def own_activation(source: str, file: str) -> Activation:
    """The activation that a text defines; `file` names it in tracebacks."""
    own_value, own_derivative = functions_of(source, file)

    def value(z: Tensor, out: Tensor) -> Tensor:
        return out.copy_(own_value(z))

    def derivative(z: Tensor, x: Tensor, out: Tensor) -> Tensor:
        return out.copy_(own_derivative(z, x))

    return Activation(file, value, derivative)
