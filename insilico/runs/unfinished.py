"""Where a long run keeps what it has done until it is finished, so that it can go on after a kill.

The folder lies hidden beside the run's own and bears the digest of everything that the result
depends on: the same command finds it again, and after any change it is another.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from insilico.runs.folder import RunFolderError


class Unfinished:
    """The folder of a run that is under way: `path`, which whoever works there makes and fills.

    **Arguments:**

    - `out`, `name`: as for `RunFolder.create`.
    - `identity`: what the result depends on, as JSON can hold it.
    """

    def __init__(self, out: str | os.PathLike[str] | None, name: str, identity: Any):
        target = Path("runs") / name if out is None else Path(out)
        text = json.dumps(identity, sort_keys=True, default=str)
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        self._prefix = f".{target.name}.unfinished-"
        self.path = target.with_name(f"{self._prefix}{digest}")

    @property
    def begun(self) -> bool:
        """Whether an earlier run has left something to go on from."""
        return self.path.is_dir() and any(self.path.iterdir())

    def others(self) -> list[Path]:
        """Folders that runs to the same place left when their config, data or versions were other
        ones: nothing goes on from them."""
        with contextlib.suppress(OSError):
            found = self.path.parent.glob(f"{self._prefix}*")
            return sorted(path for path in found if path != self.path)
        return []

    def discard(self) -> None:
        """Remove it: the run is finished, or is to start anew."""
        shutil.rmtree(self.path, ignore_errors=True)

    def make(self) -> Path:
        """The folder to work in, made if it is not there.

        Raises `RunFolderError`: it cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunFolderError(
                f"{self.path}: the folder to keep unfinished work in cannot be made: "
                f"{os.strerror(error.errno).lower() if error.errno else error}"
            ) from error
        return self.path
