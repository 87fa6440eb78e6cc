"""What a study leaves behind: the figure, its data, caption and provenance, the claims; the same runs, the same bytes.

Flow: study → table → figure.py → **study_files** → outputs/studies/<slug>/<size>/, tracking.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlpexp.claims import Claim, overall
from mlpexp.config import digest
from mlpexp.journal import json_bytes, write_atomically
from mlpexp.numerics import commit, environment
from mlpexp.results import Result
from mlpexp.study import Manifest, seed_counts, table_of
from mlpexp.study_definition import Study
from mlpexp.study_options import DEFAULT_FORMAT

if TYPE_CHECKING:
    import pandas as pd

CLAIMS, FROZEN = "claims.json", "frozen.json"


@dataclass(frozen=True)
class Drawn:
    """A study's figure and verdicts, before anything is written: file name → content."""

    files: dict[str, bytes]
    claims: list[Claim]
    freeze: str

    def write(self, folder: Path) -> None:
        """Every file, whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            write_atomically(folder / name, content)

    def differences(self, folder: Path) -> list[str]:
        """Names of files that are missing, or whose bytes are others; of the provenance, commit and versions may be."""
        return [name for name, content in self.files.items() if _read(folder / name) != _comparable(name, content)]


def _read(file: Path) -> object:
    return _comparable(file.name, file.read_bytes()) if file.exists() else None


def _comparable(name: str, content: bytes) -> object:
    if not name.endswith(".json"):
        return content
    return {key: value for key, value in json.loads(content).items() if key not in ("commit", "versions")}


def drawn(study: Study, manifest: Manifest, outputs: Path, form: str = DEFAULT_FORMAT) -> Drawn:
    """The figure of recorded runs, in that format, with all that lies beside it."""
    from mlpexp.paper import plotted, rendered, style

    module = study.figure
    if study.computation is not None:
        table = module.compute(**study.computation)
    else:
        table = table_of(manifest, outputs, getattr(module, "read", None))
    claims: list[Claim] = module.claims(table)
    with style(form):
        figure = module.draw(table)
        pictures = rendered(figure, f"mlpexp study {study.slug}, config {study.key}")
        data = plotted(figure)
    name = study.slug if form == DEFAULT_FORMAT else f"{study.slug}-{form}"
    files = {f"{name}.{kind}": content for kind, content in pictures.items()}
    files[f"{study.slug}.csv"] = data.to_csv(index=False, lineterminator="\n").encode()
    files[f"{study.slug}.txt"] = (caption(study, manifest, outputs) + "\n").encode()
    files[f"{study.slug}.json"] = json_bytes(provenance(study, manifest, outputs))
    files[CLAIMS] = json_bytes({"verdict": overall(claims), "claims": [plain(one) for one in claims]})
    if hasattr(module, "tabular"):
        files[f"{study.slug}.tex"] = latex(module.tabular(table)).encode()
    return Drawn(files, claims, freeze_line(study, outputs))


def caption(study: Study, manifest: Manifest, outputs: Path) -> str:
    """What study.yaml says, and what holds of every figure here: what intervals are, how was tuned, which data."""
    sentences = [" ".join(study.definition.caption.split()), _intervals(study, manifest)]
    tuned = {name: part for name, part in study.parts.items() if part.tune}
    for name, part in tuned.items():
        grid = "; ".join(f"{key} from {{{', '.join(map(str, values))}}}" for key, values in part.tune.items())
        where = f"In {name}, " if len(study.parts) > 1 else ""
        sentences.append(
            f"{where}{grid} was picked on the validation part at every point, with {part.search_replicates} other "
            "seeds; the test part was read once."
        )
    picked = [row for row in manifest.rows if row.chosen]
    edge = [row for row in picked if row.on_edge]
    if edge:
        sentences.append(f"{len(edge)} of {len(picked)} picks lie on the edge of the grid.")
    if study.data_sets:
        sentences.append(f"Data: {'; '.join(_data(manifest, outputs))}.")
    return " ".join(sentences)


def _data(manifest: Manifest, outputs: Path) -> list[str]:
    """What the drawn runs were trained on: each set, with its training examples, the least and the most of them."""
    from mlpexp.data.catalogue import title

    examples: dict[str, set[int]] = {}
    for run in (Result(outputs / "runs" / row.runs[0]) for row in manifest.rows):  # a point's seeds have one split
        examples.setdefault(title(run.config.data), set()).add(int(run.facts["data"]["examples"]["train"]))
    return [
        f"{name}, {' to '.join(map(str, sorted({min(each), max(each)})))} training examples"
        for name, each in examples.items()
    ]


def _intervals(study: Study, manifest: Manifest) -> str:
    """What bands and bars are."""
    if study.definition.intervals:
        return " ".join(study.definition.intervals.split())
    counts = seed_counts(manifest)
    seeds = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(counts[0])
    return f"Bands and bars: 95 % intervals over {seeds} training seeds at a fixed split."


def provenance(study: Study, manifest: Manifest, outputs: Path) -> dict[str, Any]:
    """Where every number of the figure comes from; no date, no path, no machine's name."""
    runs = [Result(outputs / "runs" / name) for name in manifest.fingerprints]
    known = [run for run in runs if run.exists()]
    return {
        "study": study.slug,
        "size": study.size,
        "config": study.key,
        "analysis": study.analysis(),
        "overrides": list(study.words),
        "rows": [asdict(row) for row in manifest.rows],
        "searched": manifest.searched,
        "data": sorted({f"{run.facts['data']['name']} {run.facts['data']['digest']}" for run in known}),
        "numerics": sorted({digest(run.numerics)[:8] for run in known}),
        "commit": commit(),
        "versions": environment()["versions"],
    }


def plain(claim: Claim) -> dict[str, Any]:
    """A claim as JSON takes it: what is not finite is null."""
    content = asdict(claim) | {"p": claim.p}
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in content.items()
    }


def latex(table: "pd.DataFrame") -> str:
    """A table as LaTeX's booktabs set it, with the header in the first row."""
    rows = [
        [str(name) for name in table.columns],
        *([str(cell) for cell in row] for row in table.itertuples(index=False)),
    ]
    lines = [" & ".join(map(_escaped, row)) + r" \\" for row in rows]
    columns = "l" + "r" * (len(table.columns) - 1)
    begin, end = rf"\begin{{tabular}}{{{columns}}}", r"\end{tabular}"
    return "\n".join([begin, r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule", end, ""])


def _escaped(text: str) -> str:
    for sign in "&%$#_{}":
        text = text.replace(sign, "\\" + sign)
    return text.replace("±", r"$\pm$").replace("−", "$-$")


def freeze(study: Study, outputs: Path, fingerprints: Sequence[str]) -> str:
    """Write down what decides the verdicts, and how many runs of the study are recorded by now.

    `fingerprints` are those that the study asks for: some may be recorded of a call that was interrupted.
    """
    folder = outputs / "studies" / study.place
    entries = _entries(folder)
    now = {"analysis": study.analysis(), "runs": recorded_runs(study, outputs, fingerprints)}
    if not entries or entries[-1]["analysis"] != now["analysis"]:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / FROZEN, json_bytes({"frozen": [*entries, now]}))
    return freeze_line(study, outputs)


def freeze_line(study: Study, outputs: Path) -> str:
    """Whether claims, margins and analysis were fixed before the runs."""
    entries = _entries(outputs / "studies" / study.place)
    if not entries:
        return "claims, margins and analysis were not frozen"
    first, last = entries[0], entries[-1]
    if last["analysis"] != study.analysis():
        return f"changed after {recorded_runs(study, outputs)} runs: not what was frozen ({last['analysis']})"
    if len(entries) > 1 and last["runs"]:
        return f"changed after {last['runs']} runs ({first['analysis']} became {last['analysis']})"
    when = "before the runs" if not last["runs"] else f"after {last['runs']} runs"
    return f"claims, margins and analysis were fixed {when} ({last['analysis']})"


def recorded_runs(study: Study, outputs: Path, fingerprints: Sequence[str] = ()) -> int:
    """Runs that this study's verdicts rest on and that are recorded; a pilot of other seeds or sizes does not count."""
    manifest = Manifest.read(outputs / "studies" / study.place)
    names = {*fingerprints, *(manifest.fingerprints if manifest else ())}
    return sum((outputs / "runs" / name / "result.json").exists() for name in names)


def _entries(folder: Path) -> list[dict[str, Any]]:
    file = folder / FROZEN
    return list(json.loads(file.read_text())["frozen"]) if file.exists() else []


def content_hash(files: Sequence[bytes]) -> str:
    """Sixteen hexadecimal digits of what a figure's folder holds."""
    return hashlib.sha256(b"".join(hashlib.sha256(content).digest() for content in files)).hexdigest()[:16]
