"""The rows of a benchmark, and the table, JSON lines and markdown made of them."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from scripts.bench.harness import Measurement

REPORTED_PACKAGES = ("jax", "jaxlib", "diffrax", "equinox", "numpy")
REPORTED_PEERS = ("numbalsoda", "numba", "libroadrunner", "simglucose")
"""Named where they are installed."""
BASELINE = "diffrax-vmap"
"""The name, in JSON, of the run's baseline, whichever of diffrax's forms it is."""
COLUMNS = (
    "tool",
    "rtol",
    "patients",
    "patients/s",
    "lowest to highest",
    "ratio to baseline",
    "times own solve",
    "max error",
    "steps",
    "waste",
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
    relative_tolerance: float
    """NaN for a tool that keeps to its own."""
    waste: float = float("nan")
    """Lockstep waste (`Prepared.waste`); NaN where it is not known."""
    gradient_of: str | None = None
    """For a gradient: the tool whose plain solve it is measured against."""

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
    relative_tolerance: float
    waste: float
    own_solve: float | None
    """Of a gradient: the time it takes over that of its own plain solve in the same run."""


def rows_of(
    case: str, device: str, measured: Mapping[str, Measured], gradient_case: str = ""
) -> list[Row]:
    """Rows of the tools measured together, by their names."""
    rows = []
    for name, tool in measured.items():
        measurement, rates = tool.measurement, tool.rates
        plain = measured.get(tool.gradient_of or "")
        steps = measurement.solution.steps
        rows.append(
            Row(
                bench="ensemble",
                case=gradient_case if tool.gradient_of else case,
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
                relative_tolerance=tool.relative_tolerance,
                waste=tool.waste,
                own_solve=None if plain is None else float(np.median(plain.rates / rates)),
            )
        )
    return rows


def baseline_of(rows: list[Row], allowed: Collection[str]) -> str | None:
    """The fastest of the tools that may be the baseline."""
    baselines = [row for row in rows if row.tool in allowed]
    return max(baselines, key=lambda row: row.value).tool if baselines else None


def with_baseline(rows: list[Row], baseline: str | None) -> list[Row]:
    """The rows, and the baseline's once more by the one name it has in every run."""
    if baseline is None:
        return rows

    def named(row: Row) -> Row:
        ratio = 1.0 if row.tool == baseline else row.ratio_to.get(baseline)
        if ratio is None:
            return row
        return replace(row, ratio_to={**row.ratio_to, BASELINE: ratio})

    rows = [named(row) for row in rows]
    (own,) = (row for row in rows if row.tool == baseline)
    same = {name: ratio for name, ratio in own.ratio_to.items() if name != BASELINE}
    return [*rows, replace(own, tool=BASELINE, ratio_to={**same, baseline: 1.0})]


def roof_row(case: str, device: str, rate: float, rows: list[Row]) -> Row:
    """The most that the device could do, beside what the tools do."""
    return Row(
        bench="ensemble",
        case=case,
        tool="roofline",
        device=device,
        value=rate,
        lowest=rate,
        highest=rate,
        max_error=float("nan"),
        ratio_to={row.tool: rate / row.value for row in rows},
        steps=None,
        compile_seconds=float("nan"),
        peak_memory=float("nan"),
        disturbed="",
        lanes=0,
        patients=rows[0].patients,
        relative_tolerance=float("nan"),
        waste=float("nan"),
        own_solve=None,
    )


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
            "ratio_to": {name: finite(ratio) for name, ratio in row.ratio_to.items()},
        }
    )


def _known(value: float, form: str) -> str:
    return "" if np.isnan(value) else format(value, form)


def _short(value: float, digits: int) -> str:
    """A number with `digits` decimals; two figures of one below 0.1."""
    return f"{value:.2g}" if value < 0.1 else f"{value:,.{digits}f}"


def _rate(value: float) -> str:
    """Patients a second."""
    return _short(value, 0 if value >= 10 else 2)


def _cells(row: Row, baseline: str | None) -> tuple[str, ...]:
    against = row.ratio_to.get(baseline or "", np.nan)
    ratio = "" if np.isnan(against) else _short(against, 2)
    return (
        row.tool,
        _known(row.relative_tolerance, ".1e"),
        f"{row.patients:,}",
        _rate(row.value),
        f"{_rate(row.lowest)} to {_rate(row.highest)}",
        "baseline" if row.tool == baseline else ratio,
        "" if row.own_solve is None else f"{row.own_solve:.2f}",
        _known(row.max_error, ".1e"),
        "" if row.steps is None else f"{row.steps:,.0f}",
        _known(row.waste, ".2f"),
        f"{row.lanes}" if row.lanes else "",
        _known(row.compile_seconds, ".1f"),
        _known(row.peak_memory / 1e6, ",.0f"),
        row.disturbed,
    )


def print_table(title: str, rows: list[Row], baseline: str | None) -> None:
    """The rows as a table for people."""
    # Here, so that lines for machines need no package that a rented one may not have.
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{title}, {rows[0].device}")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "tool" else "right", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row, baseline))
    wide = None if sys.stdout.isatty() else 190
    Console(width=wide).print(table)


def markdown(title: str, rows: list[Row], baseline: str | None, command: str) -> str:
    """The rows as a dated section of RESULTS.md."""
    lines = [
        f"## {date.today().isoformat()}: {title}",
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
