"""A study's parts as they are at one size, with the data that are installed and the overrides of the command line.

Flow: study_schema → **study_parts** → study_definition.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from mlpexp import yaml_text
from mlpexp.overrides import Override, parse
from mlpexp.refusals import ConfigError, describe
from mlpexp.study_schema import Definition, Keys, Part


def spelt(value: object) -> str:
    """A value as Hydra's command line takes it.

    >>> spelt([1, None, True]), spelt("relu"), spelt(0.001)
    ('[1,null,true]', 'relu', '0.001')
    """
    if isinstance(value, list | tuple):
        return f"[{','.join(map(spelt, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def sized(definition: Definition, name: str, size: str) -> Part:
    """A part as it is at that size: mappings are merged key by key, everything else is replaced."""
    content = definition.parts[name].model_dump()
    for key, value in (definition.sizes.get(size, {}).get(name) or {}).items():
        merges = isinstance(value, Mapping) and key != "conditions"
        content[key] = {**content.get(key, {}), **value} if merges else value
    try:
        part = Part.model_validate(content)
    except ValidationError as error:
        raise ConfigError([f"sizes.{size}.{name}: {line}" for line in describe(error, content)]) from None
    alternatives = str({**definition.keys, **part.keys}.get("data", "")).split("|")
    kept = {
        "keys": chosen(part.keys, alternatives),
        "conditions": {condition: chosen(own, alternatives) for condition, own in part.conditions.items()},
        "grid": {
            key: [chosen({key: value}, alternatives)[key] for value in values] for key, values in part.grid.items()
        },
    }
    return part.model_copy(update=kept)


def chosen(keys: Keys, alternatives: Sequence[str]) -> Keys:
    """The same keys, with the first data set that is installed where `data` names several: `fashion_mnist|digits`.

    Other keys may have a value for each of the part's alternatives, as `model.width: 48|133`, and get that of the set
    that is taken. It is in every config, in the study's key, and in the caption; where none is installed, the last is.
    """
    found = {}
    for key, value in keys.items():
        values = str(value).split("|")
        names = values if key == "data" else alternatives
        several = len(values) > 1 and len(values) == len(names)
        found[key] = yaml_text.load(values[_first_installed(names)]) if several else value
    return found


def _first_installed(names: Sequence[str]) -> int:
    """The place of the first data set that can be loaded now, or of the last."""
    from mlpexp.data.catalogue import install_command

    return next((place for place, name in enumerate(names) if not install_command(name)), len(names) - 1)


def overridden(parts: Mapping[str, Part], words: Sequence[str]) -> dict[str, Part]:
    """Words of the command line: KEY=VALUE for all parts, PART.KEY=VALUE for one; several values make a grid."""
    found = dict(parts)
    mistakes: list[str] = []
    for word in words:
        first, _, rest = word.partition(".")
        chosen, text = ([first], rest) if first in parts else (list(parts), word)
        override = parse(text)
        key = override.key_or_group
        for name in chosen:
            if differing := _differing(found[name], key):
                mistakes.append(
                    f"{word} would hold for all, but conditions of {name} differ in {key} ({differing}) and would be "
                    f"drawn under names that are not theirs; leave it, or change {name} in study.yaml"
                )
            found[name] = _with(found[name], key, *_values(override))
    if mistakes:
        raise ConfigError(mistakes)
    return found


def _differing(part: Part, key: str) -> str:
    """Two conditions that a key tells apart, with what they have; empty where it is the same in all."""
    own = {name: spelt(keys[key]) if key in keys else "as in keys" for name, keys in part.conditions.items()}
    return (
        "; ".join({value: f"{name}: {value}" for name, value in own.items()}.values())
        if len(set(own.values())) > 1
        else ""
    )


def _values(override: Override) -> tuple[list[Any], bool]:
    """The values of a word, and whether they are a grid."""
    if not override.is_sweep_override():
        return [override.value()], False
    return [yaml_text.load(text) for text in override.sweep_string_iterator()], True


def _with(part: Part, key: str, values: list[Any], several: bool) -> Part:
    """The part with a key set, wherever the key was set before."""
    content = part.model_dump()
    if key in ("replicates", "search_replicates"):
        return Part.model_validate(content | {key: values[0]})
    if key in content["tune"]:
        content["tune"][key] = values
        return Part.model_validate(content)
    content["grid"].pop(key, None)
    content["keys"].pop(key, None)
    content["conditions"] = {
        name: {own: value for own, value in keys.items() if own != key} for name, keys in content["conditions"].items()
    }
    content["grid" if several else "keys"][key] = values if several else values[0]
    return Part.model_validate(content)
