"""What every run shares: its folder, what that says about itself, how long its stages took."""

from insilico.runs.folder import NewRun, RunFolder, RunFolderError
from insilico.runs.manifest import manifest, peak_memory
from insilico.runs.resolved import resolved_text
from insilico.runs.stages import Stages
from insilico.runs.unfinished import Unfinished

__all__ = [
    "NewRun",
    "RunFolder",
    "RunFolderError",
    "Stages",
    "Unfinished",
    "manifest",
    "peak_memory",
    "resolved_text",
]
