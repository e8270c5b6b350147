"""A file of estimates, by what it holds."""

from __future__ import annotations

import os
from pathlib import Path

from cohorts.data.mistakes import DataError, Mistake
from cohorts.estimates.estimates import Estimates
from cohorts.estimates.nlmixr2 import read_nlmixr2
from cohorts.estimates.nonmem import read_ext, with_cov


def read_estimates(
    file: str | os.PathLike[str],
    covariance: str | os.PathLike[str] | None = None,
    *,
    table: int | None = None,
) -> Estimates:
    """The estimates of a population that NONMEM or nlmixr2 has left. Does not import JAX.

    **Arguments:**

    - `file`: NONMEM's `.ext`, or JSON of nlmixr2.
    - `covariance`: NONMEM's `.cov`; JSON has its own matrix.
    - `table`: number of the `TABLE NO.` of an `.ext`; default: the last, which is the last
      estimation's.

    Raises `OSError` where a file cannot be read, and `DataError` with everything wrong in the
    first file that has mistakes.
    """
    text = _text(Path(file))
    name = Path(file).name
    if text.lstrip().startswith(("{", "[")):
        for given, what in (
            (covariance, "has its covariance matrix itself, as `cov`"),
            (table, "has no tables to choose from"),
        ):
            if given is not None:
                raise DataError(name, "line", [Mistake(0, "", f"is JSON: it {what}")])
        return read_nlmixr2(text, name)
    estimates, number = read_ext(text, name, table)
    if covariance is None:
        return estimates
    return with_cov(estimates, number, _text(Path(covariance)), Path(covariance).name)


def _text(path: Path) -> str:
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        message = f"the byte 0x{content[error.start]:02x} is not text"
        raise DataError(path.name, "line", [Mistake(line, "", message)]) from None
