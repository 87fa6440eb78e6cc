"""The gallery of studies: picture, question, verdict, command, minutes, from what each study's folder keeps.

Flow: outputs/studies → experiments/<slug>/{result.json, figure.png} → **gallery** → experiments/README.md.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from mlpexp.data.catalogue import spoken
from mlpexp.journal import json_bytes, write_atomically
from mlpexp.places import study_folders
from mlpexp.refusals import ConfigError
from mlpexp.study import Manifest, seconds_of
from mlpexp.study_definition import Study, open_study
from mlpexp.study_files import CLAIMS

RESULT, PICTURE = "result.json", "figure.png"
HEAD = """\
# Studies

Each is a question, answered by one command: `mlpexp study NAME` trains what is missing, draws the figure, and judges
the claims. A refuted claim is a result. Minutes are those of training on two processes.
"""
FOOT = """\
`mlpexp study --gallery` writes this page from what was run; `mlpexp study --new my_question` begins one of your own.
[first_look](first_look), [alexnet](alexnet) and [throughput](throughput) beside them are a first picture, a study of a
convolutional net that trains by a loop of its own, and benchmarks.
"""


def write_gallery(outputs: Path) -> tuple[Path, list[str]]:
    """Take over the figures and verdicts that were run here, and write the page; a warning for each stale study."""
    folder = next((place for place in study_folders() if list(place.glob("*/study.yaml"))), None)
    if folder is None:
        raise ConfigError(["there are no studies here; `mlpexp study --new SLUG` begins one"])
    studies = [open_study(str(file.parent)) for file in sorted(folder.glob("*/study.yaml"))]
    for study in studies:
        take_over(study, outputs)
    old = [study.slug for study in studies if stale(study)]
    write_atomically(folder / "README.md", page(studies).encode())
    return folder / "README.md", [f"{slug} was not run as it stands: mlpexp study {slug}" for slug in old]


def take_over(study: Study, outputs: Path) -> None:
    """Keep the figure and the verdicts of the study's quick runs in its folder, where they were run here."""
    place = outputs / "studies" / study.place
    manifest = Manifest.read(place)
    picture, claims = place / f"{study.slug}.png", place / CLAIMS
    if manifest is None or manifest.key != study.key or not (picture.exists() and claims.exists()):
        return
    minutes = round(seconds_of(manifest, outputs) / 60, 1)
    content = {
        "config": study.key,
        "analysis": study.analysis(),
        "runs": len(manifest.fingerprints),
        "minutes": minutes,
    }
    shutil.copyfile(picture, study.folder / PICTURE)
    write_atomically(study.folder / RESULT, json_bytes(content | json.loads(claims.read_text())))


def stale(study: Study) -> bool:
    """Whether the folder's result is missing, or that of another design or analysis."""
    result = result_of(study)
    return result is None or (result["config"], result["analysis"]) != (study.key, study.analysis())


def result_of(study: Study) -> dict[str, Any] | None:
    """What the folder keeps of its last run; None where it was never run."""
    file = study.folder / RESULT
    return dict(json.loads(file.read_text())) if file.exists() else None


def page(studies: list[Study]) -> str:
    """The gallery as Markdown."""
    return "\n".join([HEAD, *(_entry(study) for study in studies), FOOT])


def _entry(study: Study) -> str:
    result = result_of(study)
    title = study.slug.replace("_", " ")
    lines = [
        f"## [{title[0].upper()}{title[1:]}]({study.slug})",
        "",
        f"**{' '.join(study.definition.question.split())}**",
        "",
    ]
    if result is None:
        return "\n".join([*lines, f"`mlpexp study {study.slug}`: not run yet.", ""])
    lines += [f"![{title}]({study.slug}/{PICTURE})", ""]
    lines += [f"- *{claim['verdict']}*: {claim['statement']}" for claim in result["claims"]]
    cost = f"{result['runs']} runs, {spelt_minutes(result['minutes'])}" if result["runs"] else "nothing is trained"
    data = f"; data: {', '.join(dict.fromkeys(map(spoken, study.data_sets)))}" if study.data_sets else ""
    return "\n".join([*lines, "", f"`mlpexp study {study.slug}`: {cost}{data}.", ""])


def spelt_minutes(minutes: float) -> str:
    """`under a minute`, `about 3 min`."""
    return "under a minute" if minutes < 1 else f"about {minutes:.0f} min"
