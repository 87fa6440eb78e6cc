"""An activation from the text of a user's own file, which defines

    def value(z): …          # σ(z), by torch's elementwise functions, in a tensor of its own
    def derivative(z, x): …  # σ′(z), given x = σ(z)

and may define what else it likes.
"""

from collections.abc import Callable

from torch import Tensor

from mlpexp.kernel.activations import Activation
from mlpexp.kernel.own_code import functions_in


def functions_of(source: str, file: str) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]:
    """`value` and `derivative` as the text defines them; raises whatever executing it raises."""
    value, derivative = functions_in(source, file, "value(z)", "derivative(z, x)")
    return value, derivative


def own_activation(source: str, file: str) -> Activation:
    """The activation that a text defines; `file` names it in tracebacks."""
    own_value, own_derivative = functions_of(source, file)

    def value(z: Tensor, out: Tensor) -> Tensor:
        return out.copy_(own_value(z))

    def derivative(z: Tensor, x: Tensor, out: Tensor) -> Tensor:
        return out.copy_(own_derivative(z, x))

    return Activation(file, value, derivative)
