"""Where our own files are: in a checkout, or installed from a wheel."""

from pathlib import Path
from pkgutil import iter_modules


def config_folder() -> str:
    """The folder of our YAML files: `conf/` beside the package, or inside it when installed from a wheel."""
    package = Path(__file__).resolve().parent
    inside = package / "conf"
    return str(inside if inside.is_dir() else package.parent / "conf")


def kernel_files(folder: str) -> tuple[str, ...]:
    """Names of what a folder of the kernel has one file for each, found without importing them (or torch)."""
    return tuple(sorted(file.name for file in iter_modules([str(Path(__file__).parent / "kernel" / folder)])))


def study_folders() -> list[Path]:
    """Where studies are looked for by name: `experiments` here, here, and those that come with mlpexp."""
    package = Path(__file__).resolve().parent
    inside = package / "experiments"
    return [Path("experiments"), Path(), inside if inside.is_dir() else package.parent / "experiments"]
