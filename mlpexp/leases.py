"""Who trains which run: two commands that want the same run train it once, and a dead owner's lease expires.

Flow: runner → **leases** → outputs/leases/<fingerprint>. A lease is a file that only one process can create. Its owner
touches it while alive; on the same machine a dead owner is seen at once, elsewhere by a lease that grows old. Each
lease has a number of its own (fencing): an owner that slept while its lease expired finds another number there, and
leaves the run to who took it over.
"""

import json
import os
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import psutil

HEARTBEAT_SECONDS = 10.0
EXPIRY_SECONDS = 60.0


def identity() -> dict[str, Any]:
    """This process, told apart from a later one with the same number."""
    return {"host": os.uname().nodename, "pid": os.getpid(), "started": psutil.Process().create_time()}


def is_alive(owner: dict[str, Any]) -> bool | None:
    """Whether that process lives; None where it is on another machine."""
    if owner["host"] != os.uname().nodename:
        return None
    try:
        process = psutil.Process(owner["pid"])
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return abs(float(process.create_time()) - float(owner["started"])) < 1
    except psutil.Error:
        return False


def holds(outputs: Path, name: str, lease: str) -> bool:
    """Whether a run's lease is still the one with this content."""
    try:
        return (outputs / "leases" / name).read_text() == lease
    except OSError:
        return False


def has_expired(file: Path) -> bool:
    """Whether a lease's owner is dead: known at once on this machine, from its age where it is on another."""
    try:
        age = time.time() - file.stat().st_mtime
        alive = is_alive(json.loads(file.read_text()))
    except FileNotFoundError:
        return True
    except ValueError:  # being written, or cut short by a power failure
        return age > HEARTBEAT_SECONDS
    return age > EXPIRY_SECONDS if alive is None else not alive


class Leases:
    """The runs that this process has taken on; given back at the end. `held` is the content of each lease."""

    def __init__(self, outputs: Path) -> None:
        self.outputs, self.folder = outputs, outputs / "leases"
        self.held: dict[str, str] = {}
        self.over = threading.Event()
        self.beat = threading.Thread(target=self._keep_alive, name="leases", daemon=True)

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.beat.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.release(list(self.held))

    def take(self, names: Iterable[str]) -> list[str]:
        """Those of the runs that are now ours; the others belong to a living process."""
        owner = identity()
        return [name for name in names if name in self.held or self._take(name, owner)]

    def release(self, names: Iterable[str]) -> None:
        """Give runs back: they are recorded, or have failed. What another owner has taken over stays with it."""
        for name in names:
            lease = self.held.pop(name, None)
            if lease is not None and holds(self.outputs, name, lease):
                (self.folder / name).unlink(missing_ok=True)

    def _take(self, name: str, owner: dict[str, Any]) -> bool:
        file, lease = self.folder / name, json.dumps(owner | {"fence": time.time_ns()})
        for _ in range(2):
            try:
                with open(file, "x") as stream:
                    stream.write(lease)
            except FileExistsError:
                if not has_expired(file):
                    return False
                self._bury(file)
                continue
            self.held[name] = lease
            return True
        return False

    def _bury(self, file: Path) -> None:
        """Remove a dead owner's lease; of several that try, one succeeds."""
        grave = file.with_name(f".{file.name}.{os.getpid()}")
        try:
            os.rename(file, grave)
        except FileNotFoundError:
            return
        grave.unlink(missing_ok=True)

    def _keep_alive(self) -> None:
        while not self.over.wait(HEARTBEAT_SECONDS):
            for name, lease in list(self.held.items()):
                if holds(self.outputs, name, lease):
                    with suppress(FileNotFoundError):
                        os.utime(self.folder / name)
