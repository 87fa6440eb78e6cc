"""mlpexp: an instrument to study the training of multilayer perceptrons.

    >>> import mlpexp
    >>> config = mlpexp.compose(["model.depth=8", "training.epochs=1", "tracking=none"])
    >>> result, = mlpexp.run(config, quiet=True)
    >>> sorted(result.scores)[:3]
    ['accuracy/test', 'accuracy/train', 'accuracy/validation']
    >>> result.record["delta_norm"].shape
    (18, 8)

Names are loaded when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlpexp.browse.tables import load, load_records
    from mlpexp.composition import compose
    from mlpexp.config import Config
    from mlpexp.refusals import ConfigError
    from mlpexp.results import Result
    from mlpexp.run_record import Record
    from mlpexp.runner import RunError, run
    from mlpexp.watching.watch import watch

__all__ = ["Config", "ConfigError", "Record", "Result", "RunError", "compose", "load", "load_records", "run", "watch"]

_HOMES = {
    "Config": "config",
    "ConfigError": "refusals",
    "Record": "run_record",
    "Result": "results",
    "RunError": "runner",
    "compose": "composition",
    "load": "browse.tables",
    "load_records": "browse.tables",
    "run": "runner",
    "watch": "watching.watch",
}


def __getattr__(name: str) -> object:
    """Load a public name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"mlpexp has no {name}; it has {', '.join(__all__)}")
    return getattr(import_module(f"mlpexp.{_HOMES[name]}"), name)
