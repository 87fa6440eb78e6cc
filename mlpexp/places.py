"""Where our own files are: in a checkout, or installed from a wheel."""

from pathlib import Path


def config_folder() -> str:
    """The folder of our YAML files: `conf/` beside the package, or inside it when installed from a wheel."""
    package = Path(__file__).resolve().parent
    inside = package / "conf"
    return str(inside if inside.is_dir() else package.parent / "conf")
