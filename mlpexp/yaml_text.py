"""YAML to and from text, by libyaml where PyYAML has it: ten times as fast, which a thousand runs notice."""

from collections.abc import Mapping
from typing import Any

import yaml

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def load(text: str) -> Any:
    """Plain values only; nothing is executed."""
    return yaml.load(text, Loader=LOADER)


def dump(content: Any) -> str:
    """Keys in their order, and letters as they are."""
    return str(yaml.dump(content, Dumper=DUMPER, sort_keys=False, allow_unicode=True))


def dump_sections(content: Mapping[str, Any], known: dict[str, str]) -> str:
    """As `dump`, a key at a time; what is in `known` already is not written anew: runs of a sweep differ in little."""
    text = []
    for key, value in content.items():
        section = f"{key}: {value!r}"
        if section not in known:
            known[section] = dump({key: value})
        text.append(known[section])
    return "".join(text)
