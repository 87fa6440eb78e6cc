"""What `model.activation` may name: a file of kernel/activations, or a file of the user's own.

Flow: section → **activation_schema** → model_schema. Names are read from the folder, without importing torch.

A file of the user's own (any name that ends in .py) is Python code that the user names on his own command line.
It is run by the check before training, and by every process that trains the run or loads its network, with all rights
of the user. Its text is taken when the config is composed and kept with the run, so a recorded run needs the file no
more (what the text imports is not kept). The text's digest stands in the fingerprint, the path does not. A record from
someone else holds code of someone else.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator

from mlpexp.places import kernel_files
from mlpexp.refusals import nearest

ACTIVATION_NAMES = kernel_files("activations")


@dataclass(frozen=True)
class ParameterOf:
    """A key that belongs to one activation, and the value that null stands for."""

    activation: str
    default: float


def is_own(name: str) -> bool:
    """Whether an activation is a file of the user's own."""
    return name.endswith(".py")


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

    What is there already (in a run's record) stays, whatever has become of the file. A file that cannot be read gets no
    text: `unread` tells why.
    """
    given = content.get("activation_sources")
    known = dict(given) if isinstance(given, Mapping) else {}

    def placed(name: object) -> object:
        if not isinstance(name, str) or not is_own(name) or name in known:
            return name
        return os.path.abspath(os.path.expanduser(name))

    activation = content.get("activation")
    activation = [placed(name) for name in activation] if isinstance(activation, list) else placed(activation)
    for file in filter(is_own, names_in(activation)):
        if file not in known and not unread(file):
            known[file] = Path(file).read_text(encoding="utf-8")
    return {**content, "activation": activation, "activation_sources": known or given}


def unread(file: str) -> str:
    """Why a file cannot be read; empty if it can."""
    try:
        Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return error.strerror or "?" if isinstance(error, OSError) else "it is no text in UTF-8"
    return ""


def digest_of(source: str) -> str:
    """What stands in a fingerprint for a file of the user's own: files with the same text are the same activation."""
    return f"sha256:{hashlib.sha256(source.encode()).hexdigest()}"


def label(name: str, sources: Mapping[str, str] | None) -> str:
    """A short name: `relu`, or `mish@3f2a91bc` for a file of the user's own and the beginning of its digest."""
    if sources is None or name not in sources:
        return name
    return f"{Path(name).stem}@{digest_of(sources[name]).partition(':')[2][:8]}"
