"""A study in one file: its folder, its runs, its figure, and under which environment they came to be.

Flow: study_command ⇄ **packing** ⇄ a zip file. The same runs give the same bytes. A co-author redraws the figure from
it without training, and without the data: those are there by their hashes, in each run's result.json.
"""

import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from mlpexp.journal import CHECKPOINT, json_bytes, write_atomically
from mlpexp.refusals import ConfigError
from mlpexp.study import Manifest
from mlpexp.study_definition import Study

ABOUT = "pack.json"
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The date of every file in a pack: a zip file knows none before it."""


def pack(file: Path, study: Study, manifest: Manifest, outputs: Path, figure: Path) -> None:
    """Write the pack, whole or not at all."""
    about = {"study": study.slug, "size": study.size, "overrides": list(study.words), "place": study.place}
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with zipfile.ZipFile(beside, "w") as archive:
            _add(archive, ABOUT, json_bytes(about))
            for name, path in _contents(study, manifest, outputs, figure):
                _add(archive, name, path.read_bytes())
        os.replace(beside, file)
    finally:
        beside.unlink(missing_ok=True)


def _contents(study: Study, manifest: Manifest, outputs: Path, figure: Path) -> Iterator[tuple[str, Path]]:
    """Name in the pack and file; what a run would go on from is left out, and so is where it was tracked."""
    for path in sorted(study.folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith("."):
            yield f"study/{path.relative_to(study.folder).as_posix()}", path
    for path in sorted(figure.iterdir()):
        if path.is_file() and not path.name.startswith("."):
            yield f"figure/{path.name}", path
    for name in sorted(manifest.fingerprints):
        for path in sorted((outputs / "runs" / name).iterdir()):
            if path.name != CHECKPOINT and not path.name.startswith("."):
                yield f"runs/{name}/{path.name}", path


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.compress_type = zipfile.ZIP_STORED if name.endswith((".parquet", ".png", ".pdf")) else zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, content)


def unpack(file: Path, name: str, outputs: Path) -> tuple[Path, str, tuple[str, ...]]:
    """Bring a pack here: runs that are not recorded yet, the figure's folder, the study's folder.

    Returns the study's folder, size and overrides. Raises ConfigError, before anything is written, where the file is
    no pack, or holds another study than `name`, or one whose files differ from those that are here.
    """
    try:
        archive = zipfile.ZipFile(file)
    except (OSError, zipfile.BadZipFile) as error:
        raise ConfigError([f"{file} cannot be read as a packed study ({error})"]) from None
    with archive:
        names = [entry for entry in archive.namelist() if not entry.endswith("/")]
        if ABOUT not in names or any(not _is_safe(entry) for entry in names):
            raise ConfigError([f"{file} is no packed study; `mlpexp study NAME --pack FILE` writes one"])
        about = json.loads(archive.read(ABOUT))
        if Path(name).name != about["study"]:
            raise ConfigError([f"{file} holds the study {about['study']}, not {Path(name).name}"])
        damaged = archive.testzip()
        if damaged:
            raise ConfigError([f"{file} is damaged: {damaged} does not fit its checksum"])
        folder = Path(name) if len(Path(name).parts) > 1 else Path("experiments") / name
        _refuse_another_study(archive, names, folder)
        _extract(archive, names, "study/", folder)
        _extract(archive, names, "figure/", outputs / "studies" / about["place"])
        for run in sorted({entry.split("/")[1] for entry in names if entry.startswith("runs/")}):
            _bring_run(archive, names, run, outputs)
    return folder.resolve(), about["size"], tuple(about["overrides"])


def _is_safe(entry: str) -> bool:
    """Below one of the pack's own folders, without a way out of it."""
    path = PurePosixPath(entry)
    inside = entry == ABOUT or path.parts[0] in ("study", "figure", "runs")
    return inside and not path.is_absolute() and ".." not in path.parts and "\\" not in entry


def _refuse_another_study(archive: zipfile.ZipFile, names: list[str], folder: Path) -> None:
    for entry in (one for one in names if one in ("study/study.yaml", "study/figure.py")):
        here = folder / entry.removeprefix("study/")
        if here.exists() and here.read_bytes() != archive.read(entry):
            raise ConfigError(
                [f"{here} differs from the packed one; unpack elsewhere: mlpexp study OTHER/{folder.name} --unpack …"]
            )


def _extract(archive: zipfile.ZipFile, names: list[str], prefix: str, target: Path) -> None:
    for entry in (one for one in names if one.startswith(prefix)):
        place = target / entry.removeprefix(prefix)
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(place, archive.read(entry))


def _bring_run(archive: zipfile.ZipFile, names: list[str], run: str, outputs: Path) -> None:
    """A run's folder appears whole; one that is recorded here stays as it is."""
    target = outputs / "runs" / run
    if (target / "result.json").exists():
        return
    beside = outputs / "runs" / f".{run}.{os.getpid()}.unpacked"
    _extract(archive, names, f"runs/{run}/", beside)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(beside, target)
