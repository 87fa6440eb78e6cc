"""`mlpexp study`: what its options do, and what a reader sees of it.

Flow: command line → **study_command** → study, study_files, packing, gallery.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from rich.console import Console

from mlpexp import packing, study_template
from mlpexp.claims import overall
from mlpexp.config import Config, absolute_outputs
from mlpexp.display import counted
from mlpexp.gallery import result_of, spelt_minutes, write_gallery
from mlpexp.letters import folded, in_width
from mlpexp.refusals import ConfigError, redact
from mlpexp.results import Result
from mlpexp.run_note import NOTE, file_link
from mlpexp.runner import RunError
from mlpexp.score_tables import show_places
from mlpexp.study import Manifest, Runs, composed, figure_folder, train
from mlpexp.study_all import run_all
from mlpexp.study_definition import Study, all_studies, open_study
from mlpexp.study_files import Drawn, content_hash, drawn, freeze, recorded_runs
from mlpexp.study_options import DEFAULT_FORMAT, DEFAULT_SIZE


def command(options: argparse.Namespace) -> int:
    """0 where everything went well, 1 where runs failed or bytes differ; raises ConfigError for what is refused."""
    console = Console(soft_wrap=True, highlight=False)
    if options.list:
        return _list(options, console)
    if options.new:
        print("\n".join(study_template.begin(options.new)))
        return 0
    if options.gallery:
        file, warnings = write_gallery(Path(absolute_outputs(_outputs())))
        print("\n".join([*warnings, f"gallery: {file}"]))
        return 0
    if options.all:
        return _all(options, console)
    if options.name is None:
        raise ConfigError(["which study? `mlpexp study --list` names them, `mlpexp study --new SLUG` begins one"])
    return _one(options.name, options, console)


def _all(options: argparse.Namespace, console: Console) -> int:
    """Every study, with a table of verdicts; where nothing is drawn, every one in turn."""
    if options.freeze:
        return max([_one(str(folder), options, console) for folder in all_studies()], default=0)
    words = [] if options.name is None else [options.name, *options.words]  # the first stands where a name would
    shared = argparse.Namespace(**{**vars(options), "words": words})

    def one(folder: str, within: str) -> int:
        return _one(folder, shared, console, within)

    return run_all(all_studies(), options.size, words, one, console)


def _one(name: str, options: argparse.Namespace, console: Console, within: str = "") -> int:
    if options.unpack:
        return _unpack(name, options, console)
    study = open_study(name, options.size, options.words)
    with composed(study) as needed:
        if options.freeze:
            names = needed.order().fingerprints if needed.points else []
            print(freeze(study, needed.outputs, names))
            return 0
        if options.figure_only or options.check or options.pack:
            manifest = _recorded(study, figure_folder(needed))
        else:
            console.print(in_width(study.definition.question, ""), style="bold", markup=False, soft_wrap=True)
            started = time.monotonic()
            try:
                manifest = train(needed, within=within)
            except RunError as error:
                print(f"mlpexp: {error}", file=sys.stderr)
                return 1
            manifest.write(figure_folder(needed))  # before drawing: a mistake in figure.py costs no search
            if needed.points:
                runs = counted(len(manifest.fingerprints), "run")
                console.print(f"{runs} in {spelt_time(time.monotonic() - started)}")
        return _finish(study, needed, manifest, options, console)


def _finish(study: Study, needed: Runs, manifest: Manifest, options: argparse.Namespace, console: Console) -> int:
    """Draw, then compare, pack, or write and tell."""
    folder = figure_folder(needed)
    found = drawn(study, manifest, needed.outputs, options.format)
    if options.check:
        others = found.differences(folder)
        print("\n".join(f"{folder / name} is not what the runs give" for name in others) or "the same bytes")
        return 1 if others else 0
    found.write(folder)
    if options.pack:
        packing.pack(Path(options.pack), study, manifest, needed.outputs, folder)
        print(f"packed {counted(len(manifest.fingerprints), 'run')} into {options.pack}")
        return 0
    if needed.base.tracking.name == "mlflow":
        _track(study, needed.base, folder, found, options.format)
    tell(study, manifest, found, folder, console, options.format)
    if manifest.fingerprints:
        show_places([Result(needed.outputs / "runs" / one) for one in manifest.fingerprints], needed.base, console)
    return 0


def tell(study: Study, manifest: Manifest, found: Drawn, folder: Path, console: Console, form: str) -> None:
    """Verdict by verdict, and where the picture lies."""
    colours = {"supported": "green", "refuted": "red", "undecided": "yellow"}
    for claim in found.claims:
        console.print(in_width(claim.line()), style=colours[claim.verdict], markup=False, soft_wrap=True)
    edge = [row for row in manifest.rows if row.on_edge]
    if edge:
        text = f"{counted(len(edge), 'pick')} on the edge of the grid, where a better value may lie beyond: widen it"
        console.print(text, style="yellow")
    if study.size == "smoke":
        console.print("size smoke only shows that everything works: its verdicts mean nothing", style="yellow")
    console.print(found.freeze, style="dim", markup=False)
    console.print(f"verdict: [bold]{overall(found.claims)}[/bold]")
    picture = study.slug if form == DEFAULT_FORMAT else f"{study.slug}-{form}"
    console.print(f"picture: {folder / picture}.png (and .pdf; data, caption, provenance beside it)", markup=False)


def _track(study: Study, config: Config, folder: Path, found: Drawn, form: str) -> None:
    """The figure and its verdicts in MLflow, in the experiment that has the study's name."""
    from mlpexp.tracking import Store

    tags = {f"mlpexp.claim.{one.name}": one.line() for one in found.claims}
    tags |= {"mlpexp.verdict": overall(found.claims), "mlpexp.fixed": found.freeze}
    figure = next(file_link("the figure", name) for name in found.files if name.endswith(".png"))
    claims = [one.line() for one in found.claims]
    tags[NOTE] = "\n\n".join([study.definition.question, figure, *claims])
    outputs = Path(absolute_outputs(config.outputs))
    other = "" if form == DEFAULT_FORMAT else f", {form}"
    try:
        content = content_hash([*found.files.values(), found.freeze.encode()])
        files = [folder / name for name in found.files]
        Store(config.tracking, outputs).show_study(study.place + other, content, files, tags)
    except RuntimeError as error:
        print(f"mlpexp: MLflow was not reached ({redact(str(error))}); the figure lies in {folder}", file=sys.stderr)


def _unpack(name: str, options: argparse.Namespace, console: Console) -> int:
    """Runs and figure's folder out of a packed file, then the figure from them: nothing is trained."""
    outputs = Path(absolute_outputs(_outputs()))
    folder, size, words = packing.unpack(Path(options.unpack), name, outputs)
    study = open_study(str(folder), size, words)
    place = outputs / "studies" / study.place
    found = drawn(study, _recorded(study, place), outputs, options.format)
    others = found.differences(place)
    found.write(place)
    tell(study, _recorded(study, place), found, place, console, options.format)
    print("redrawn: " + (f"other bytes than those packed: {', '.join(others)}" if others else "the same bytes"))
    return 0


def _recorded(study: Study, folder: Path) -> Manifest:
    """Which runs were trained for the study as it stands; raises ConfigError where none, or others, were."""
    manifest = Manifest.read(folder)
    if manifest is not None and manifest.key == study.key:
        return manifest
    size = "" if study.size == DEFAULT_SIZE else f" --size {study.size}"
    words = " ".join(["mlpexp study", study.slug, *study.words]) + size
    what = "no runs of this study" if manifest is None else f"runs of another design of it ({manifest.key})"
    raise ConfigError([f"{folder} holds {what}; `{words}` trains what is missing"])


def _list(options: argparse.Namespace, console: Console) -> int:
    """Each study's question, whether its figure's runs are recorded, and how long they take; nothing is composed."""
    outputs = Path(absolute_outputs(_outputs()))
    for folder in all_studies():
        study = open_study(str(folder), options.size)
        console.print(f"[bold]{study.slug}[/bold]  {_standing(study, outputs)}")
        console.print(folded(f"    {study.definition.question}", "    "), markup=False)
    console.print("mlpexp study NAME trains what is missing and draws the figure", style="dim")
    return 0


def _standing(study: Study, outputs: Path) -> str:
    """`820 of 820 runs, done`, from the figure's list of runs; what it took elsewhere, where it was not drawn here."""
    if study.computation is not None:
        return "computed, trains nothing"
    manifest = Manifest.read(outputs / "studies" / study.place)
    if manifest is not None and manifest.key == study.key:
        total = len(manifest.fingerprints)
        finished = recorded_runs(study, outputs)
        return f"{finished} of {total} runs, {'done' if finished == total else 'go on'}"
    result = result_of(study)
    known = result is not None and result["config"] == study.key
    return f"{study.run_count} runs, " + (spelt_minutes(result["minutes"]) if known and result else "not timed yet")


def spelt_time(seconds: float) -> str:
    """`12 s`, `3.4 min`."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def _outputs() -> str:
    return os.environ.get("MLPEXP_OUTPUTS", "outputs")
