"""The machine that a measurement was made on, and the file that keeps both."""

import json
import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "onnxruntime", "numpy", "pyzmq", "lmdb")

Row = dict[str, Any]  # one line of a table: column -> number or text
Payload = dict[str, Any]  # JSON types; "rows" holds the table, anything else is kept with it


def describe() -> dict[str, Any]:
    """Hardware, versions, load, date and commit, as JSON types; None where it cannot be known."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "gpu": _gpu_model(),
        "platform": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
    }


def write(name: str, payload: Payload, seed: int | None = None, folder: Path = RESULTS) -> Path:
    """Keep a measurement with its seed and machine as folder/<name>.json; returns the path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    result = {"name": name, "seed": seed, "machine": describe(), **payload}
    path.write_text(json.dumps(result, indent=2) + "\n")
    return path


def peak_mb() -> float:
    """Most memory that this process has held, in megabytes (Linux).

    Not `getrusage`: its figure is never below what the parent held when it started the process.
    """
    status = Path("/proc/self/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024 / 1e6


def load() -> float:
    """Processes that wanted to run during the last minute; above the benchmark's own, beware."""
    return round(os.getloadavg()[0], 2)


def table(rows: list[Row]) -> str:
    """Rows as aligned text, in the columns of the first row."""
    if not rows:
        return "(nothing measured)"
    columns = list(rows[0])
    cells = [columns, *([_cell(row.get(column)) for column in columns] for row in rows)]
    widths = [max(len(line[k]) for line in cells) for k in range(len(columns))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in cells
    )


def _cell(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.1f}" if abs(value) >= 100 else f"{value:.3g}"


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _gpu_model() -> str | None:
    if shutil.which("nvidia-smi") is None:
        return None
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    return _output(query)


def _commit() -> str | None:
    """The checked-out commit, with a plus if files differ from it."""
    commit = _output(["git", "rev-parse", "HEAD"])
    changes = _output(["git", "status", "--porcelain", "--untracked-files=no"])
    return f"{commit}+" if commit and changes else commit


def _output(command: list[str]) -> str | None:
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip() or None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
