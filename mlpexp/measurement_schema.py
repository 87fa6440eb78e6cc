"""The schema of `measurements`: what is looked at while a run trains, and how often.

Flow: section, measurement_catalogue, own_measurement_text → **measurement_schema** → config. It is no part of a run's
identity: a record tells what it covers, and of a file of the user's own it covers the text.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from mlpexp.measurement_catalogue import CATALOGUE, DEFAULT_SCHEDULES, ON_PROBE, PRESETS, Atom, kind_of
from mlpexp.own_files import is_own, placed, texts, unread
from mlpexp.own_measurement_text import name_of
from mlpexp.refusals import nearest
from mlpexp.section import Filled, OneOrEach, Section, Whole

QUANTITIES = tuple(CATALOGUE)
WORDS = ("log", "epoch", "ends")
STEPS_A_DECADE = 8


def _word(value: str) -> str:
    known = [*PRESETS, *QUANTITIES]
    if value not in known and not is_own(value):
        raise ValueError(
            f"may list {', '.join(PRESETS)}, names that `mlpexp measurements` tells, and files of your own that end in "
            f".py; got {value!r}{nearest(value, known)}"
        )
    return value


def _atom(value: object) -> object:
    whole = int(value) if isinstance(value, float) and value.is_integer() else value
    if (isinstance(whole, int) and not isinstance(whole, bool) and whole >= 1) or value in WORDS:
        return whole
    raise ValueError(f"must be a number of steps, log, epoch or ends; got {value!r}")


class Measurements(Section):
    """What is measured per layer and of the run; no part of a run's identity.

    >>> from mlpexp import compose
    >>> compose(["measurements=full", "measurements.schedule.sharpness=100"]).measurements.schedule_of("sharpness")
    (100,)
    """

    quantities: OneOrEach[Annotated[str, AfterValidator(_word)]] = Field(
        default_factory=list, description="names, files of one's own, or none, basic, full"
    )
    sources: Annotated[dict[str, str], Filled()] = Field(
        default_factory=dict, description="the text of each file that quantities names; filled in by itself"
    )
    every: Whole = Field(1, ge=1, description="steps between two measurements of the scalars")
    schedule: dict[str, OneOrEach[Annotated[int | str, BeforeValidator(_atom)]]] = Field(
        default_factory=dict, description="quantity or kind → steps between two measurements, log, epoch or ends"
    )
    probe_examples: Whole = Field(256, ge=1, description="training examples that make up the probe")
    left_out: Annotated[dict[str, str], Filled()] = Field(
        default_factory=dict, description="what a preset names and the run does not define; filled in by itself"
    )

    @model_validator(mode="before")
    @classmethod
    def _read_own_files(cls, content: Any) -> Any:
        if not isinstance(content, Mapping):
            return content
        given, words = content.get("sources") or {}, content.get("quantities", [])
        if not isinstance(given, Mapping) or not isinstance(words, str | list):
            return content  # which is refused
        listed = [
            placed(word, given) if isinstance(word, str) else word
            for word in (words if isinstance(words, list) else [words])
        ]
        sources = texts([word for word in listed if isinstance(word, str)], given)
        return {**content, "quantities": listed if isinstance(words, list) else listed[0], "sources": sources}

    @model_validator(mode="after")
    def _refuse_what_is_unknown(self) -> Self:
        for file in filter(is_own, self.words):
            if file not in self.sources:
                raise ValueError(
                    f"measurements.quantities: {file} cannot be read ({unread(file)}); name a file that defines "
                    "measure(step)"
                )
        for name, file in self.own.items():
            if others := [one for one in self.words if is_own(one) and name_of(one) == name and one != file]:
                raise ValueError(
                    f"measurements.quantities: {file} and {others[0]} are both called {name}; rename one of them"
                )
        if set(self.sources) - set(self.words):
            raise ValueError("measurements.sources is filled in by itself, from the files of measurements.quantities")
        known = [*DEFAULT_SCHEDULES, *QUANTITIES, *self.own]
        for name in self.schedule:
            if name not in known:
                raise ValueError(
                    f"measurements.schedule may name a quantity, or {', '.join(DEFAULT_SCHEDULES)}; got {name!r}"
                    f"{nearest(name, known)}"
                )
        return self

    @property
    def words(self) -> list[str]:
        """What `quantities` says, as a list."""
        return [self.quantities] if isinstance(self.quantities, str) else list(self.quantities)

    @property
    def own(self) -> dict[str, str]:
        """Quantities of the user's own: name → file."""
        return {name_of(word): word for word in self.words if is_own(word)}

    def text_of(self, name: str) -> str | None:
        """The text that defines a quantity of the user's own; None for one of the catalogue."""
        return self.sources[self.own[name]] if name in self.own else None

    def spelt(self, names: Iterable[str]) -> list[str]:
        """What `quantities` says where it names just these."""
        return [self.own.get(name, name) for name in names]

    @property
    def by_name(self) -> list[str]:
        """Quantities that are asked for by their own names."""
        return in_order(word for word in self.words if word in CATALOGUE)

    @property
    def names(self) -> list[str]:
        """All quantities that are asked for, presets spelt out: the catalogue's in its order, then one's own."""
        return in_order(
            name for word in self.words for name in PRESETS.get(word, (name_of(word) if is_own(word) else word,))
        )

    def schedule_of(self, name: str) -> tuple[Atom, ...]:
        """When a quantity is measured: its own schedule, its kind's, or the default of that."""
        kind = kind_of(name)
        default = DEFAULT_SCHEDULES[kind]
        found: Any = self.schedule.get(name, self.schedule.get(kind, self.every if default is None else default))
        return tuple(found) if isinstance(found, list) else (found,)

    def has_own_schedule(self, name: str) -> bool:
        """Whether `schedule` says something of a quantity or of its kind."""
        return name in self.schedule or kind_of(name) in self.schedule

    def covers(self, other: "Measurements") -> bool:
        """Whether a record of these measurements already holds all that `other` asks for."""
        return set(other.names) <= set(self.names) and all(
            (name not in ON_PROBE or self.probe_examples == other.probe_examples)
            and self.text_of(name) == other.text_of(name)
            and all(any(_holds(mine, theirs) for mine in self.schedule_of(name)) for theirs in other.schedule_of(name))
            for name in other.names
        )

    def union(self, other: "Measurements") -> Self:
        """The least measurements that cover both; probes of different sizes, and different texts of one's own by the
        same name, exclude each other, and ours stays.
        """
        everies = [part.every for part in (self, other) if part.names] or [1]
        names, every = in_order([*self.names, *other.names]), math.gcd(*everies)
        files = {**other.own, **self.own}
        words = [files.get(name, name) for name in names]
        sources = {file: {**other.sources, **self.sources}[file] for file in files.values()}
        plain = type(self)(quantities=words, every=every, sources=sources)
        merged = {
            name: _merged([a for part in (self, other) if name in part.names for a in part.schedule_of(name)])
            for name in names
        }
        schedule = {
            name: list(atoms) if len(atoms) > 1 else atoms[0]
            for name, atoms in merged.items()
            if atoms != plain.schedule_of(name) and (self.has_own_schedule(name) or other.has_own_schedule(name))
        }
        left_out = {name: why for name, why in {**other.left_out, **self.left_out}.items() if name not in names}
        update = {"quantities": words, "sources": sources, "every": every, "schedule": schedule, "left_out": left_out}
        return self.model_copy(update=update)


def in_order(names: Iterable[str]) -> list[str]:
    """Each of these quantities once, in the catalogue's order; others behind them, by their names."""
    wanted = set(names)
    return [*(name for name in QUANTITIES if name in wanted), *sorted(wanted.difference(QUANTITIES))]


def _holds(atom: Atom, other: Atom) -> bool:
    """Whether a schedule measures at every step at which another one does; the ends are in all of them."""
    if atom == other or atom == 1 or other == "ends":
        return True
    return isinstance(atom, int) and isinstance(other, int) and other % atom == 0


def _merged(atoms: Sequence[Atom]) -> tuple[Atom, ...]:
    """The least schedule that covers all of these: one number of steps at most, and no word that another covers."""
    numbers = [atom for atom in atoms if isinstance(atom, int)]
    few: list[Atom] = [math.gcd(*numbers)] if numbers else []
    few += sorted({atom for atom in atoms if isinstance(atom, str)}, key=WORDS.index)
    return tuple(a for a in few if not any(_holds(b, a) and a != b for b in few))


@lru_cache(maxsize=1024)  # a sweep asks the same of a thousand runs
def due_updates(atoms: tuple[Atom, ...], first_step: int, updates: int) -> list[int]:
    """Updates of an epoch, counted from its `first_step`, before which a quantity of this schedule is measured.

    All begin at step 0, and the state after the last update is always measured. `log`: steps 1, 2, 3, 4, 6, 7, 10, 13,
    18 …, eight a decade, wherever training will end.
    """
    found = {0} if first_step == 0 else set[int]()
    for atom in atoms:
        if isinstance(atom, int):
            found |= set(range(-first_step % atom, updates, atom))
        elif atom == "epoch":
            found |= {0}
        elif atom == "log":
            most = math.ceil(STEPS_A_DECADE * math.log10(first_step + updates + 1))
            found |= {round(10 ** (j / STEPS_A_DECADE)) - first_step for j in range(most + 1)}
    return sorted(i for i in found if 0 <= i < updates)
