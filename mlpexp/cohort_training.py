"""One cohort from its task to the folders of its runs: train, journal, checkpoint, write.

Flow: execution → **cohort_training** → training → journal → run folders.
"""

import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch

from mlpexp.checkpoints import capture, restore
from mlpexp.cohorts import Size, pace_of
from mlpexp.config import Config, output_and_loss, validate
from mlpexp.data import Parts, prepare
from mlpexp.journal import Journal
from mlpexp.lane_state import Pause
from mlpexp.lanes import build
from mlpexp.leases import holds
from mlpexp.measurement_catalogue import of_kind
from mlpexp.numerics import environment, of_this_process
from mlpexp.predictions import input_lengths, theory_of
from mlpexp.records import Ending, Piece, metric
from mlpexp.run_folder import read_state, write_runs
from mlpexp.salvage import disowned_on_error, keep_interrupted, own, settle, write_headers
from mlpexp.scoring import outputs_are_off
from mlpexp.shapes import layout_of
from mlpexp.signals import Progress, asked_to_leave, tell_evaluation
from mlpexp.task import Task
from mlpexp.training import train

OUTPUTS_OFF = (
    "model.output=relu starts at 0 for every training example: its gradient is 0, and nothing is learnt; "
    "take another seed, initialisation or output"
)
T = TypeVar("T")


def train_cohort(task: Task) -> list[str]:
    """Train one cohort to its end and write the folder of each run."""
    configs = [validate(content) for content in task.configs]
    own(task.folder)
    with disowned_on_error(task.folder), torch.inference_mode(not any(map(has_own_code, configs))):
        return _train(task, configs)


def has_own_code(config: Config) -> bool:
    """Whether a file of the user's own takes part, which may ask autograd, and would be told zeros in inference mode.

    Elsewhere nobody does: torch's inference mode takes 5 to 20 % off a step, the more the smaller networks are.
    """
    return bool(config.model.activation_sources or config.measurements.own)


def _train(task: Task, configs: list[Config]) -> list[str]:
    started = time.time()
    parts = task.parts or prepare(configs[0].data)
    headers = _headers(task, configs, parts)
    plan, lanes = build(configs, parts)
    for lane, off in zip(lanes.numbers, outputs_are_off(plan, lanes).tolist(), strict=True):
        headers[lane]["result"]["warnings"] += [OUTPUTS_OFF] if off else []
    write_headers(task.folder, headers)
    if task.step:
        lanes = restore(lanes, {i: read_state(Path(base)) for i, base in enumerate(task.bases) if base})
    journal, progress, endings = Journal(task.folder), Progress(task.folder), list[Ending]()
    states, kept_at, trained = dict[int, Any](), time.monotonic(), Stopwatch()
    pause, leaving, left = Pause(task.step, lanes), set[int](), dict[int, Any]()
    progress.add(task.step * len(configs))

    def record(ended: list[Ending], states: dict[int, Any]) -> None:
        """Write the folders of runs that have ended."""
        if task.leases:
            outputs, names, leases = Path(task.outputs), task.fingerprints, task.leases
            ended = [one for one in ended if holds(outputs, names[one.lane], leases[one.lane])]
        for header in headers:
            now = time.time()
            header["result"] |= {"started": started, "seconds": now - started, "training_seconds": trained.seconds}
        if ended:
            write_runs(Path(task.outputs) / "runs", journal.pieces, ended, headers, states)
            settle(Path(task.outputs), [task.fingerprints[ending.lane] for ending in ended])

    for event in trained.timing(train(plan, lanes, task.step, leaving)):
        if isinstance(event, Piece):
            journal.append(event)
            progress.add(len(event.steps) * len(event.lanes))
            if task.watched in event.evaluation:
                epoch = pause.step // plan.updates_per_epoch
                tell_evaluation(task.folder, epoch, event.lanes, event.evaluation[task.watched])
        elif isinstance(event, Ending) and event.status == "pruned":
            keep_interrupted(Path(task.outputs), journal, [event], headers, {event.lane: left[event.lane]})
        elif isinstance(event, Ending):
            endings.append(event)
        else:
            pause = event
            if task.watched and task.step < pause.step < plan.updates:
                leaving |= asked_to_leave(task.folder)
                left = capture(pause.lanes) if leaving.intersection(pause.lanes.numbers) else {}
            if pause.step == plan.updates > 0:
                states = capture(pause.lanes)  # a longer run goes on from here
                # on the schedule, the evaluation that finds the best weights is the longer run's, too
                if plan.is_evaluation(pause.step):
                    states = {lane: {k: v for k, v in state.items() if k != "best"} for lane, state in states.items()}
            elif pause.step > task.step and time.monotonic() - kept_at >= configs[0].executor.checkpoint_seconds:
                record(endings, {})  # lanes that ended are in no checkpoint
                endings = []
                journal.checkpoint(capture(pause.lanes), pause.step)
                kept_at = time.monotonic()
    finished = {ending.lane for ending in endings if ending.status == "finished"}
    record(endings, {lane: state for lane, state in states.items() if lane in finished})
    journal.discard()
    return task.fingerprints


def _headers(task: Task, configs: list[Config], parts: Parts) -> list[dict[str, Any]]:
    """What each run folder says beside what training finds."""
    if parts.digest != task.data_digest:
        raise RuntimeError(f"data {configs[0].data.name} has changed since this command began; start it again")
    layout = layout_of(configs[0].model, parts.dataset.inputs, parts.dataset.outputs)
    pace = pace_of(configs[0], Size(parts.dataset.inputs, parts.dataset.outputs, len(parts.training)))
    output, loss = output_and_loss(configs[0], parts.dataset.task)
    normalisation = {"centre": parts.centre, "scale": parts.scale}
    if parts.fill is not None:
        normalisation["fill"] = parts.fill
    parts_evaluated = [
        name for name, part in (("train", parts.training), ("validation", parts.validation)) if len(part)
    ]
    kinds = ["loss"] if parts.dataset.task == "regression" else ["loss", "accuracy"]
    measurements = configs[0].measurements
    kinds += [name for name in of_kind("scores") if name in measurements.names]
    evaluations = [metric(kind, part) for part in parts_evaluated for kind in kinds]
    result = {
        "data": {
            "name": parts.dataset.name,
            "digest": task.data_digest,
            "task": parts.dataset.task,
            "classes": list(parts.dataset.classes),
            "examples": {"train": len(parts.training), "validation": len(parts.validation), "test": len(parts.test)},
            "source": parts.dataset.source,
        },
        "widths": list(layout.widths),
        "parameters": layout.size,
        "output": output,
        "loss": loss,
        "measurements": measurements.model_dump(),
        "numerics": of_this_process(configs[0].executor.device),
        "lanes": len(configs),
        "started": time.time(),
        "seconds": 0.0,
        "training_seconds": 0.0,
        "went_on_from_step": task.step,
    }
    told = task.warnings or [[]] * len(configs)
    lengths = input_lengths(parts.training.features)
    return [
        {
            "fingerprint": fingerprint,
            "config": config.record(),
            "result": result
            | {"stem": config.stem(), "warnings": list(warnings), "theory": theory_of(config, layout, lengths)},
            "pace": asdict(pace),
            "normalisation": normalisation,
            "environment": environment(),
            "evaluations": evaluations,
            "base": base,
        }
        for fingerprint, config, base, warnings in zip(task.fingerprints, configs, task.bases, told, strict=True)
    ]


class Stopwatch:
    """Seconds spent in training itself: steps, measurements and evaluations, without what is done about them."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def timing(self, events: Iterator[T]) -> Iterator[T]:
        """The same events."""
        while True:
            began = time.perf_counter()
            event = next(events, None)
            self.seconds += time.perf_counter() - began
            if event is None:
                return
            yield event
