"""How a config refuses: the key, the value, what is allowed, and the nearest known name.

Flow: composition and config raise; the command line prints, and leaves with code 2.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

from pydantic import ValidationError


class ConfigError(ValueError):
    """A refused config; `mistakes` has one line for each.

    >>> from mlpexp import ConfigError, compose
    >>> try:
    ...     compose(["model.depth=0", "executor=seriel"])
    ... except ConfigError as error:
    ...     print(error)
    executor must be one of local, serial; got 'seriel'; did you mean serial?
    """

    def __init__(self, mistakes: Sequence[str]) -> None:
        self.mistakes = [redact(line) for line in mistakes]
        super().__init__("\n".join(self.mistakes))

    def __reduce__(self) -> tuple[type[Self], tuple[Any, ...]]:
        """It crosses process borders whole."""
        return type(self), (self.mistakes,)

    def report(self) -> list[str]:
        """What a user reads, line by line."""
        return [f"mlpexp: {line}" for line in self.mistakes]


class RefusedPoints(ConfigError):
    """Some points of a sweep are refused; `points` has the overrides of every point and its mistakes, if any."""

    def __init__(self, points: Sequence[tuple[Sequence[str], Sequence[str]]]) -> None:
        super().__init__(list(dict.fromkeys(line for _, mistakes in points for line in mistakes)))
        self.points = points

    def __reduce__(self) -> tuple[type[Self], tuple[Any, ...]]:
        """It crosses process borders whole."""
        return type(self), (self.points,)

    def report(self) -> list[str]:
        """Each mistake once, with a number, and a row for each refused point: its own overrides, and its mistakes.

        No rows where all points make the same mistakes.
        """
        number = {line: f"[{i}]" for i, line in enumerate(self.mistakes, 1)}
        common = set.intersection(*(set(words) for words, _ in self.points))
        rows = [
            (redact(" ".join(word for word in words if word not in common)), " ".join(number[redact(m)] for m in made))
            for words, made in self.points
            if made
        ]
        if len(rows) == len(self.points) and len({made for _, made in rows}) == 1:
            return super().report()
        width = max(len("point"), *(len(name) for name, _ in rows))
        return [
            f"mlpexp: {len(rows)} of {len(self.points)} points are refused, nothing was trained",
            *(f"  {number[line]} {line}" for line in self.mistakes),
            f"{'point':{width}}  refused for",
            *(f"{name:{width}}  {made}" for name, made in rows),
        ]


CREDENTIALS = re.compile(r"(?P<scheme>[A-Za-z][\w+.-]*\\?:[/\\]*//)(?P<user>[^\s:/@'\"\\]*)\\?:[^\s/'\"]*@")


def redact(text: str) -> str:
    """The text with passwords in URIs replaced by `***`."""
    return CREDENTIALS.sub(lambda match: f"{match['scheme']}{match['user']}:***@", text)


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean model.depth?` for the known name closest to a misspelt one, else what its group has."""
    names = list(known)
    group, _, leaf = name.rpartition(".")
    siblings = [other.rpartition(".")[2] for other in names if other.rpartition(".")[0] == group]
    if group and siblings:
        close = difflib.get_close_matches(leaf, siblings, n=1, cutoff=0.5)
        return f"; did you mean {group}.{close[0]}?" if close else f"; {group} has {', '.join(sorted(siblings))}"
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if not close:  # perhaps the right key without its group
        leaves = {other.rpartition(".")[2]: other for other in names}
        close = [leaves[found] for found in difflib.get_close_matches(leaf, leaves, n=1, cutoff=0.75)]
    return f"; did you mean {close[0]}?" if close else ""


SECTIONS = ("data", "model", "initialisation", "training", "seeds", "optimizer", "measurements.")
"""What a message of a check across keys begins with; others get the key's name in front."""


def describe(error: ValidationError, content: Mapping[str, Any]) -> list[str]:
    """One line for each mistake that the schema found."""
    return list(dict.fromkeys(_line(dict(mistake), content) for mistake in error.errors()))


def _line(mistake: dict[str, Any], content: Mapping[str, Any]) -> str:
    key = _key(mistake["loc"], content)
    value = mistake["input"]
    context = mistake.get("ctx", {})
    match mistake["type"]:
        case "extra_forbidden":
            section = _at(content, key.rpartition(".")[0])
            others = [
                f"{key.rpartition('.')[0]}.{name}".lstrip(".") for name in section if name != key.rpartition(".")[2]
            ]
            return f"{key} is no known key{nearest(key, others)}"
        case "missing":
            return f"{key} is missing"
        case "union_tag_invalid":
            allowed = context["expected_tags"].replace("'", "")
            tag = context["tag"]
            return f"{key}.name must be one of {allowed}; got {tag!r}{nearest(tag, allowed.split(', '))}"
        case "union_tag_not_found":
            return f"{key}.name is missing"
        case "literal_error" if len(key.split(".")) > 2 and key.rpartition(".")[2].isdigit():
            allowed = context["expected"].replace("'", "").replace(" or ", ", ")
            return (
                f"{key.rpartition('.')[0]} may list {allowed}; got {value!r}{nearest(str(value), allowed.split(', '))}"
            )
        case "literal_error":
            allowed = context["expected"].replace("'", "").replace(" or ", ", ")
            return f"{key} must be one of {allowed}; got {value!r}{nearest(str(value), allowed.split(', '))}"
        case "value_error":
            text = str(context["error"])
            if text.startswith("may "):  # of a list as a whole, not of one place in it
                key = key.rstrip(".0123456789")
            return text if text.startswith(SECTIONS) else f"{key} {text}"
        case "greater_than":
            return f"{key} must be above {context['gt']:g}, got {value}"
        case "greater_than_equal":
            return f"{key} must be at least {context['ge']:g}, got {value}"
        case "less_than":
            return f"{key} must be below {context['lt']:g}, got {value}"
        case "less_than_equal":
            return f"{key} must be at most {context['le']:g}, got {value}"
        case "finite_number":
            return f"{key} must be a finite number, got {value}"
        case "int_type" | "int_from_float" | "int_parsing":
            return f"{key} must be a whole number, got {value!r}"
        case "float_type":
            return f"{key} must be a number, got {value!r}"
        case "bool_type":
            return f"{key} must be true or false, got {value!r}"
        case "string_type":
            return f"{key} must be text, got {value!r}"
        case "list_type":
            return f"{key} must be a list, as [a,b], got {value!r}"
        case "model_type" | "model_attributes_type":
            return f"{key} must be a group of keys, got {value!r}"
        case _:
            return f"{key}: {mistake['msg']}, got {value!r}"


def _key(location: Sequence[str | int], content: Mapping[str, Any]) -> str:
    """The dotted key of a mistake, without the names of union members that pydantic puts between."""
    parts: list[str] = []
    here: Any = content
    for part in location:
        is_there = part in here if isinstance(here, Mapping) else isinstance(here, list) and isinstance(part, int)
        if is_there:
            here = here[part]
        elif here is not None and (not isinstance(here, Mapping) or here.get("name") == part):
            continue
        parts.append(str(part))
    return ".".join(parts)


def _at(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    here: Any = content
    for part in filter(None, key.split(".")):
        here = here.get(part, {}) if isinstance(here, Mapping) else {}
    return here if isinstance(here, Mapping) else {}
