"""What `model.activation` may name: a file of kernel/activations, or a file of the user's own.

Flow: section, own_files → **activation_schema** → model_schema. Names are read from the folder, without
importing torch.

A file of the user's own (own_files.py): its text's digest stands in the fingerprint, its path does not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator

from mlpexp.own_files import digest_of, is_own, placed, texts
from mlpexp.places import kernel_files
from mlpexp.refusals import nearest

ACTIVATION_NAMES = kernel_files("activations")


@dataclass(frozen=True)
class ParameterOf:
    """A key that belongs to one activation, and the value that null stands for."""

    activation: str
    default: float


def _known(name: str) -> str:
    if name in ACTIVATION_NAMES or is_own(name):
        return name
    allowed = f"{', '.join(ACTIVATION_NAMES)}, or a file of your own that ends in .py"
    raise ValueError(f"must be one of {allowed}; got {name!r}{nearest(name, ACTIVATION_NAMES)}")


ActivationName = Annotated[str, AfterValidator(_known)]


def names_in(activation: object) -> list[str]:
    """The names in a name, or in a list of names."""
    names = activation if isinstance(activation, list | tuple) else [activation]
    return [name for name in names if isinstance(name, str)]


def with_sources(content: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of a model, in which files of the user's own have absolute paths and their text is in `activation_sources`.

    What is there already (in a run's record) stays.
    """
    given = content.get("activation_sources")
    known = dict(given) if isinstance(given, Mapping) else {}

    def own(name: object) -> object:
        return placed(name, known) if isinstance(name, str) else name

    activation = content.get("activation")
    activation = [own(name) for name in activation] if isinstance(activation, list) else own(activation)
    return {**content, "activation": activation, "activation_sources": texts(names_in(activation), known) or given}


def label(name: str, sources: Mapping[str, str] | None) -> str:
    """A short name: `relu`, or `mish@3f2a91bc` for a file of the user's own and the beginning of its digest."""
    if sources is None or name not in sources:
        return name
    return f"{Path(name).stem}@{digest_of(sources[name]).partition(':')[2][:8]}"
