"""Train a recorded run again and compare every bit; where something differs, say what, and where first.

Flow: run folder → run (alone, in a folder of its own) → **reproduction**.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from safetensors.numpy import load_file

from mlpexp.config import absolute_outputs, fingerprint
from mlpexp.feasibility import load_facts
from mlpexp.records import layer_of
from mlpexp.refusals import ConfigError
from mlpexp.results import Result
from mlpexp.runner import run


@dataclass(frozen=True)
class Comparison:
    """`equal` if all weights and all recorded numbers have the same bits; `lines` tell a reader."""

    equal: bool
    lines: list[str]


def reproduce(name: str, outputs: str = "outputs", quiet: bool = False) -> Comparison:
    """Train the run whose fingerprint begins with `name` once more, alone, and compare it with its record.

    Nothing in `outputs` changes. Raises ConfigError where there is no such run, or more than one.
    """
    old = find_by_prefix(Path(absolute_outputs(outputs)), name)
    with TemporaryDirectory(prefix="mlpexp-") as folder:
        executor = old.config.executor.model_copy(update={"workers": 1, "device": old.facts["numerics"]["device"]})
        tracking = old.config.tracking.model_copy(update={"name": "none"})
        update = {"outputs": folder, "tracking": tracking, "executor": executor, "measurements": old.measurements}
        config = old.config.model_copy(update=update)
        changed = data_change(old)
        new = run(config, quiet=quiet)[0]
        differences = [*changed, *compare(old, new)]
        circumstances = list(compare_circumstances(old, new))
    bits = f"{old.record.steps.size} steps × {len(old.record.quantities)} quantities × {old.config.model.depth} layers"
    if not differences:
        return Comparison(True, [f"{old.fingerprint} {old.name}: the same bits ({bits}, weights)", *circumstances])
    return Comparison(False, [f"{old.fingerprint} {old.name} differs:", *differences, *circumstances])


def find_by_prefix(outputs: Path, name: str) -> Result:
    """The one recorded run whose fingerprint begins so."""
    runs = outputs / "runs"
    named = re.fullmatch(r"[0-9a-f]{1,16}", name) is not None
    found = sorted(folder for folder in runs.glob(f"{name}*") if (folder / "result.json").exists()) if named else []
    if len(found) == 1:
        return Result(found[0])
    if not found:
        raise ConfigError([f"no run in {runs} begins with {name!r}; `ls {runs}` lists them"])
    raise ConfigError(
        [f"{len(found)} runs begin with {name!r}: {', '.join(f.name for f in found[:4])}; give more of it"]
    )


def data_change(old: Result) -> list[str]:
    """Whether the data have changed since the run was recorded."""
    facts, mistakes = load_facts([old.config])
    if mistakes:
        raise ConfigError(list(mistakes.values()))
    now = next(iter(facts.values())).digest
    if now == old.facts["data"]["digest"] and fingerprint(old.config, now) == old.fingerprint:
        return []
    if now != old.facts["data"]["digest"]:
        return [f"  data {old.facts['data']['name']}: digest {old.facts['data']['digest'][:12]} then, {now[:12]} now"]
    return [
        f"  fingerprint: {old.fingerprint} then, {fingerprint(old.config, now)} now (the config's meaning has changed)"
    ]


def compare(old: Result, new: Result) -> list[str]:
    """A line for each thing that differs: status, the first differing step and quantity, weights, scores."""
    lines = []
    if (old.status, old.facts["last_step"]) != (new.status, new.facts["last_step"]):
        was, now = (f"{r.status} at step {r.facts['last_step']}" for r in (old, new))
        lines.append(f"  end: {was} then, {now} now")
    first = first_difference(old, new)
    if first:
        lines.append(first)
    for name in ("best", "final"):
        before, after = (load_file(r.folder / f"{name}.safetensors") for r in (old, new))
        unequal = [key for key in before if key not in after or before[key].tobytes() != after[key].tobytes()]
        if unequal:
            lines.append(f"  {name} weights: {len(unequal)} of {len(before)} tensors differ, first {unequal[0]}")
    unequal = [name for name in old.facts["scores"] if old.facts["scores"][name] != new.facts["scores"].get(name)]
    lines += [f"  {name}: {old.facts['scores'][name]} then, {new.facts['scores'].get(name)} now" for name in unequal]
    return lines


def first_difference(old: Result, new: Result) -> str | None:
    """The earliest step at which a recorded number has other bits, and which number that is."""
    first: tuple[int, str] | None = None
    for name in (*old.record.columns, *old.record.distributions):
        before, after = (_numbers(r, name) for r in (old, new))
        count = min(len(before), len(after))
        unequal = np.flatnonzero((_bits(before[:count]) != _bits(after[:count])).any(axis=1))
        row = int(unequal[0]) if len(unequal) else count if len(before) != len(after) else None
        if row is None:
            continue
        steps = _steps(old, name)
        step = int(steps[min(row, len(steps) - 1)])
        if first is None or step < first[0]:
            place = np.flatnonzero(_bits(before[row]) != _bits(after[row]))[0] if len(unequal) else 0
            values = [f"{r[row][place]!r}" if row < len(r) else "nothing" for r in (before, after)]
            found = layer_of(name)
            what = f"{found[0]} of layer {found[1]}" if found else name
            first = step, f"  first at step {step}: {what}, {values[0]} then, {values[1]} now"
    return first[1] if first else None


def _steps(result: Result, name: str) -> np.ndarray:
    distributions = result.record.distributions
    return distributions[name].steps if name in distributions else result.record.steps


def _numbers(result: Result, name: str) -> np.ndarray:
    """All numbers of a column or distribution, [rows, numbers]; none where it is not recorded."""
    record = result.record
    if name in record.distributions:
        found = record.distributions[name]
        return np.concatenate([a.reshape(len(found.steps), -1) for a in (found.values, found.edges)], axis=1)
    return record[name][:, None] if name in record.columns else np.empty((0, 1))


def compare_circumstances(old: Result, new: Result) -> Iterator[str]:
    """Numerics and commit, where they are not what they were: the usual reasons for other bits."""
    before, after = old.facts["numerics"], new.facts["numerics"]
    for key in before:
        if before[key] != after.get(key):
            yield f"  numerics, {key}: {before[key]} then, {after.get(key)} now"
    commits = [r.environment["commit"] for r in (old, new)]
    if commits[0] != commits[1]:
        yield f"  commit: {commits[0]} then, {commits[1]} now"


def _bits(values: np.ndarray) -> np.ndarray:
    """Numbers as whole numbers of their width, so that NaN equals NaN and −0 does not equal 0."""
    return np.ascontiguousarray(values).view(f"u{values.dtype.itemsize}")
