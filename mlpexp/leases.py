"""Who trains which run: two commands that want the same run train it once, and a dead owner's lease expires.

Flow: runner → **leases** → outputs/leases/<fingerprint>. A lease is a file that only one process can create. Its owner
touches it while alive; on the same machine a dead owner is seen at once, elsewhere by a lease that grows old.
"""

import json
import os
import threading
import time
from collections.abc import Iterable
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


class Leases:
    """The runs that this process has taken on; given back at the end."""

    def __init__(self, outputs: Path) -> None:
        self.folder = outputs / "leases"
        self.held: set[str] = set()
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
        return [name for name in names if name in self.held or self._take(name)]

    def release(self, names: Iterable[str]) -> None:
        """Give runs back: they are recorded, or have failed."""
        for name in names:
            (self.folder / name).unlink(missing_ok=True)
            self.held.discard(name)

    def _take(self, name: str) -> bool:
        file = self.folder / name
        for _ in range(2):
            try:
                with open(file, "x") as stream:
                    stream.write(json.dumps(identity()))
            except FileExistsError:
                if not self._has_expired(file):
                    return False
                self._bury(file)
                continue
            self.held.add(name)
            return True
        return False

    def _has_expired(self, file: Path) -> bool:
        try:
            age = time.time() - file.stat().st_mtime
            alive = is_alive(json.loads(file.read_text()))
        except FileNotFoundError:
            return True
        except ValueError:  # being written, or cut short by a power failure
            return age > HEARTBEAT_SECONDS
        return age > EXPIRY_SECONDS if alive is None else not alive

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
            for name in list(self.held):
                if (self.folder / name).exists():
                    os.utime(self.folder / name)
