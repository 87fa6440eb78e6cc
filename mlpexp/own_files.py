"""Files of the user's own that a config names: activations and measurements, any name that ends in .py. No torch.

Flow: **own_files** → activation_schema, measurement_schema → config.

Such a file is Python code that the user names on his own command line. It is run by the check before training, and by
every process that trains the run or loads its network, with all rights of the user. Its text is taken when the config
is composed and kept with the run, so a recorded run needs the file no more (what the text imports is not kept). A
record from someone else holds code of someone else.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path


def is_own(name: str) -> bool:
    """Whether a name is that of a file of the user's own."""
    return name.endswith(".py")


def placed(name: str, known: Mapping[str, str]) -> str:
    """The absolute path of a file of the user's own; any other name, and what is `known` already, stays as it is."""
    return name if not is_own(name) or name in known else os.path.abspath(os.path.expanduser(name))


def texts(names: Iterable[str], known: Mapping[str, str]) -> dict[str, str]:
    """File → text: what is known already (in a run's record) stays, whatever has become of the file.

    A file that cannot be read gets no text: `unread` tells why.
    """
    new = [name for name in names if is_own(name) and name not in known and not unread(name)]
    return {**known, **{file: Path(file).read_text(encoding="utf-8") for file in new}}


def unread(file: str) -> str:
    """Why a file cannot be read; empty if it can."""
    try:
        Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return error.strerror or "?" if isinstance(error, OSError) else "it is no text in UTF-8"
    return ""


def digest_of(source: str) -> str:
    """What stands for a file where runs are compared: files with the same text are the same."""
    return f"sha256:{hashlib.sha256(source.encode()).hexdigest()}"
