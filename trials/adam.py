"""Variables of datasets in the shape of CDISC's Analysis Data Model: names, labels, codes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

NAME_LENGTH = 8
"""Characters of a variable's name that submission formats allow."""


class Variable(NamedTuple):
    """A column of a dataset: name, label, values, and unit where it has one."""

    name: str
    label: str
    values: Any
    unit: str = ""


def write(frame: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write a dataset as parquet; its label, and labels and units of its columns, as metadata.

    Raises `OSError`: it cannot be written.
    """
    table = pa.Table.from_pandas(frame, preserve_index=False)
    labels, units = frame.attrs["labels"], frame.attrs["units"]
    fields = []
    for field in table.schema:
        metadata = {"label": labels[field.name]}
        if units.get(field.name):
            metadata["unit"] = units[field.name]
        fields.append(field.with_metadata(metadata))
    # What pandas notes about its own types stays.
    schema = pa.schema(fields, {**table.schema.metadata, b"label": frame.attrs["label"].encode()})
    # A file and not its name, which might be read as a URL's.
    with Path(path).open("wb") as file:
        pq.write_table(table.cast(schema), file, compression="zstd")


def short_names(words: Sequence[str], taken: Iterable[str], suffix: str = "") -> list[str]:
    """Names of at most eight characters for words, in capitals, all different."""
    used, names = set(taken), []
    for word in words:
        stem = re.sub(r"[^A-Z0-9]", "", word.upper())
        name, number = stem[: NAME_LENGTH - len(suffix)] + suffix, 2
        while name in used:
            tail = f"{number}{suffix}"
            name, number = stem[: NAME_LENGTH - len(tail)] + tail, number + 1
        used.add(name)
        names.append(name)
    return names


def flag(values: np.ndarray) -> pd.Categorical:
    """Y and N."""
    return coded(values.astype(int), ("N", "Y"))


def coded(codes: np.ndarray, labels: Sequence[str]) -> pd.Categorical:
    """Text as codes into a list of labels, which may hold one twice; a negative code is missing."""
    distinct = list(dict.fromkeys(labels))
    merged = np.array([distinct.index(label) for label in labels] or [0])
    codes = np.where(codes < 0, -1, merged[np.maximum(codes, 0)])
    return pd.Categorical.from_codes(codes, categories=distinct)


def days(day: np.ndarray) -> pd.Categorical:
    """Names of days: "Day 7"."""
    last = int(day.max(initial=0))
    return coded(day, [f"Day {number}" for number in range(last + 1)])


def with_unit(label: str, unit: str) -> str:
    """A label with its unit in brackets, where it has one."""
    return label if unit in ("", "1") else f"{label} ({unit})"


def sentence(text: str) -> str:
    """Text with its first letter large."""
    return text[:1].upper() + text[1:]


def stacked(tables: Sequence[list[Variable]]) -> list[Variable]:
    """Tables of the same columns below one another."""
    if len(tables) == 1:
        return tables[0]
    result = []
    for columns in zip(*tables, strict=True):
        series = [pd.Series(column.values) for column in columns]
        if isinstance(series[0].dtype, pd.CategoricalDtype):
            values = pd.api.types.union_categoricals(series)
        else:
            values = pd.concat(series, ignore_index=True)
        result.append(columns[0]._replace(values=values))
    return result


def labelled(label: str, columns: Sequence[Variable]) -> pd.DataFrame:
    """A dataset with its label, and labels and units of its variables, in `attrs`."""
    frame = pd.DataFrame({column.name: column.values for column in columns})
    frame.attrs = {
        "label": label,
        "labels": {column.name: column.label for column in columns},
        "units": {column.name: column.unit for column in columns if column.unit},
    }
    return frame
