"""On what a run was trained: where these agree bits are compared; elsewhere runs are reused, but marked.

Nothing here loads torch, so the command line can tell without waiting.
"""

import os
import platform
import re
import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

STABLE_PRODUCTS = "AUTO,STRICT"
"""The value of MKL_CBWR that training processes are started with."""
HEAP = str(1 << 30)
ENVIRONMENT = {
    "MKL_CBWR": STABLE_PRODUCTS, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": HEAP, "MALLOC_TRIM_THRESHOLD_": HEAP,
    "LOKY_MAX_MEMORY_LEAK_SIZE": str(2 << 30),
}  # fmt: skip
"""What stands in a training process's environment before torch is loaded.

With MALLOC_* the C library keeps what a step lets go for the next one: handed back to the system, every temporary
tensor would be zeroed by it again, page by page. That heap is no leak: a process may
grow by 2 GiB before it makes room for a fresh one.
"""

PACKAGES = ("mlpexp", "torch", "numpy", "hydra-core", "pydantic", "scikit-learn", "mlflow", "pyarrow", "safetensors")


def numerics(device: str, stable_products: str) -> dict[str, str]:
    """What bits depend on: torch's build, the mode of its products, the processor, the device.

    `stable_products` is the MKL_CBWR that the training process was started with.
    """
    return {
        "torch": f"{_version('torch')} {_torch_build()}",
        "numpy": _version("numpy"),
        "products": f"MKL_CBWR={stable_products}",
        "processor": _processor(),
        "capability": os.environ.get("ATEN_CPU_CAPABILITY", "default"),
        "device": device,
    }


def of_this_process(device: str) -> dict[str, str]:
    """`numerics` of a process that has loaded torch, with what it alone can tell."""
    import torch

    found = numerics(device, os.environ.get("MKL_CBWR", "unset"))
    blas = next((word for word in torch.__config__.show().split() if word.startswith("BLAS_INFO=")), "BLAS_INFO=?")
    return found | {
        "blas": blas.removeprefix("BLAS_INFO=").rstrip(","),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "denormals": "flushed" if (torch.tensor(1e-40) * 1).item() == 0 else "kept",
    }


def agree(recorded: dict[str, str], here: dict[str, str]) -> bool:
    """Whether a run was trained on what is `here`: compared in what can be told without loading torch."""
    return all(recorded.get(name) == value for name, value in here.items())


def environment() -> dict[str, object]:
    """Versions, platform, commit and threads: for the reader; nothing is compared with it."""
    return {
        "versions": {name: _version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "commit": commit(),
        "threads": 1,
    }


@lru_cache(maxsize=1)
def commit() -> str | None:
    """The commit of the checkout that mlpexp runs from, with `+` where files were changed; None outside of one."""
    folder = Path(__file__).resolve().parent
    if not (folder.parent / ".git").exists():
        return None
    try:
        head = _git(folder, "rev-parse", "HEAD")
        return head + ("+" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()


@lru_cache(maxsize=64)
def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


@lru_cache(maxsize=1)
def _torch_build() -> str:
    """The commit that torch was built from, read from its version file."""
    spec = find_spec("torch")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    try:
        text = (Path(folders[0]) / "version.py").read_text()
    except (OSError, IndexError):
        return "unknown"
    match = re.search(r"git_version\s*=\s*['\"]([0-9a-f]+)", text)
    return match[1][:12] if match else "unknown"


@lru_cache(maxsize=1)
def _processor() -> str:
    """Vendor, family, model and the widest vector instructions."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}".strip()
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = facts.get("flags", facts.get("Features", "")).split()
    vectors = [flag for flag in ("avx512f", "avx2", "sve", "asimd") if flag in flags]
    names = [facts.get(key, "") for key in ("vendor_id", "model name", "cpu family", "model")]
    return " ".join(filter(None, [platform.machine(), *names, *vectors[:1]]))
