"""Config files read as text."""

import os
import stat

from insilico.config.problems import ConfigError, Problem, did_you_mean

LARGEST_FILE = 2**20
"""Bytes a config file may have."""


def text_of(file: str) -> str:
    """The file's text.

    Raises `ConfigError`: it is no readable text file of moderate size.
    """

    def refuse(
        message: str, line: int = 1, column: int = 1, hint: str | None = None
    ) -> ConfigError:
        return ConfigError([Problem(file, line, column, "", message, hint=hint)])

    try:
        mode = os.stat(file).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # opening a pipe would wait
            raise refuse("the path is neither a file nor a folder")
        with open(file, "rb") as stream:
            content = stream.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise refuse("there is no such file", hint=_nearest(file)) from None
    except IsADirectoryError:
        raise refuse("the path is a folder, not a file") from None
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise refuse(f"the file cannot be read: {reason}") from None
    if len(content) > LARGEST_FILE:
        raise refuse(
            f"the file is larger than {LARGEST_FILE // 2**20} MiB, the most a config may have"
        )
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise refuse("the file is UTF-16 text", hint="save it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        byte = f"the byte 0x{content[error.start]:02x} is not UTF-8 text"
        raise refuse(byte, line, column, hint="save the file as UTF-8") from None
    if not text.strip():
        raise refuse("the file is empty")
    return text


def _nearest(file: str) -> str | None:
    """The hint that names a file of nearly the same name in the same folder."""
    try:
        names = [entry.name for entry in os.scandir(os.path.dirname(file) or ".")]
    except (OSError, ValueError):
        return None
    return did_you_mean(os.path.basename(file), names)
