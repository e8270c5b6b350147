"""Python's own compiled code is kept between the processes of a test run.

Where Python is told to keep none (PYTHONDONTWRITEBYTECODE, as images of containers do), each
process reads the source of every package anew, which takes five seconds of those that tests start.
It is kept beside pytest's own cache then, and nowhere else.
"""

import os
import sys
from pathlib import Path

if sys.dont_write_bytecode:
    sys.dont_write_bytecode = False
    sys.pycache_prefix = str(Path(__file__).parents[2] / ".pytest_cache" / "bytecode")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix
