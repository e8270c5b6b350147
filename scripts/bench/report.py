"""The rows of a benchmark, and the table, JSON lines and markdown made of them."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from scripts.bench.harness import Measurement

REPORTED_PACKAGES = ("jax", "jaxlib", "diffrax", "equinox", "numpy")
REPORTED_PEERS = ("numbalsoda", "numba", "libroadrunner", "simglucose")
"""Named where they are installed."""
COLUMNS = (
    "tool",
    "patients",
    "patients/s",
    "lowest to highest",
    "ratio to baseline",
    "max error",
    "steps",
    "lanes",
    "compile s",
    "memory MB",
    "disturbed",
)


class Measured(NamedTuple):
    """A tool's measurement and what is needed to judge it."""

    measurement: Measurement
    max_error: float
    lanes: int
    """Patients a block."""
    patients: int
    """Patients solved in each run."""

    @property
    def rates(self) -> np.ndarray:
        """Patients a second of each run."""
        return self.patients / self.measurement.seconds


@dataclass(frozen=True)
class Row:
    """One tool on one case."""

    bench: str
    case: str
    tool: str
    device: str
    value: float
    """Median patients a second."""
    lowest: float
    highest: float
    max_error: float
    ratio_to: dict[str, float]
    """Speed over that of each other tool: the median of the ratios within one repetition."""
    steps: float | None
    """Mean steps a patient."""
    compile_seconds: float
    peak_memory: float
    disturbed: str
    lanes: int
    """Patients a block."""
    patients: int
    """Patients the tool solved in each run: those of the case, or the most it takes."""


def rows_of(case: str, device: str, measured: Mapping[str, Measured]) -> list[Row]:
    """Rows of the tools measured together, by their names."""
    rows = []
    for name, tool in measured.items():
        measurement, rates = tool.measurement, tool.rates
        steps = measurement.solution.steps
        rows.append(
            Row(
                bench="ensemble",
                case=case,
                tool=name,
                device=device,
                value=float(np.median(rates)),
                lowest=float(rates.min()),
                highest=float(rates.max()),
                max_error=tool.max_error,
                ratio_to={
                    other: float(np.median(rates / against.rates))
                    for other, against in measured.items()
                    if other != name
                },
                steps=None if steps is None else float(np.mean(steps)),
                compile_seconds=measurement.compile_seconds,
                peak_memory=measurement.peak_memory,
                disturbed=f"{measurement.disturbed}/{len(measurement.samples)}",
                lanes=tool.lanes,
                patients=tool.patients,
            )
        )
    return rows


def json_line(row: Row) -> str:
    """One row as a JSON object; a number that is not finite becomes null."""

    def finite(value: float) -> float | None:
        return value if np.isfinite(value) else None

    return json.dumps(
        {
            "bench": row.bench,
            "case": row.case,
            "tool": row.tool,
            "device": row.device,
            "value": finite(row.value),
            "unit": "patients/s",
            "max_error": finite(row.max_error),
            "ratio_to": row.ratio_to,
        }
    )


def _short(value: float, digits: int) -> str:
    """A number with `digits` decimals; two figures of one below 0.1."""
    return f"{value:.2g}" if value < 0.1 else f"{value:,.{digits}f}"


def _rate(value: float) -> str:
    """Patients a second."""
    return _short(value, 0 if value >= 10 else 2)


def _cells(row: Row, baseline: str | None) -> tuple[str, ...]:
    ratio = (
        "baseline" if row.tool == baseline else _short(row.ratio_to.get(baseline or "", np.nan), 2)
    )
    return (
        row.tool,
        f"{row.patients:,}",
        _rate(row.value),
        f"{_rate(row.lowest)} to {_rate(row.highest)}",
        ratio,
        f"{row.max_error:.1e}",
        "" if row.steps is None else f"{row.steps:,.0f}",
        f"{row.lanes}",
        f"{row.compile_seconds:.1f}",
        f"{row.peak_memory / 1e6:,.0f}",
        row.disturbed,
    )


def print_table(rows: list[Row], baseline: str | None) -> None:
    """The rows as a table for people."""
    table = Table(title=f"{rows[0].case}, {rows[0].device}")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "tool" else "right", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row, baseline))
    wide = None if sys.stdout.isatty() else 160
    Console(width=wide).print(table)


def markdown(rows: list[Row], baseline: str | None, command: str) -> str:
    """The rows as a dated section of RESULTS.md."""
    lines = [
        f"## {date.today().isoformat()}: {rows[0].case}",
        "",
        f"- machine: {machine_class()}, {os.cpu_count()} cores; {rows[0].device} in one process",
        f"- versions: {versions()}",
        f"- command: `{command}`",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|" + "|".join(["---"] + ["---:"] * (len(COLUMNS) - 1)) + "|",
        *("| " + " | ".join(_cells(row, baseline)) + " |" for row in rows),
    ]
    return "\n".join(lines)


def machine_class() -> str:
    """Processor and its widest vectors; not the machine's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    facts: dict[str, Any] = {}
    for line in lines:
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    flags = facts.get("flags", "").split()
    vectors = next((f for f in ("avx512f", "avx2") if f in flags), platform.machine())
    return f"{facts.get('model name', platform.machine())} ({vectors})"


def versions() -> str:
    """Python, the packages compared and the commit of this repository where git knows it."""
    parts = [f"python {platform.python_version()}"]
    parts += [f"{package} {metadata.version(package)}" for package in REPORTED_PACKAGES]
    for peer in REPORTED_PEERS:
        with suppress(metadata.PackageNotFoundError):
            parts.append(f"{peer} {metadata.version(peer)}")
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return ", ".join(parts)
    if described.returncode == 0:
        parts.append(f"commit {described.stdout.strip()}")
    return ", ".join(parts)
