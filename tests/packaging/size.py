"""How big the house is: lines per folder, lengths of files and functions, and their limits.

Run as `python -m tests.packaging.size`; it ends with status 1 when a limit is passed.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[2]
FOLDERS = ("robot_client", "server", "agents", "sim", "tests", "benchmarks")

MAX_FILE = 450
LONG_FUNCTION = 60
MAX_FUNCTION = 120
MAX_LONG_SHARE = 0.02


@dataclass(frozen=True)
class Function:
    """A function or method: where it starts, and its lines from `def` to the end."""

    where: str
    lines: int


@dataclass(frozen=True)
class Folder:
    """The Python files of one top-level folder: path -> lines, and their functions."""

    name: str
    files: dict[str, int]
    functions: list[Function]


def measure(root: Path, name: str) -> Folder:
    """Read every Python file under root/name."""
    files: dict[str, int] = {}
    functions: list[Function] = []
    for path in sorted((root / name).rglob("*.py")):
        text = path.read_text()
        where = path.relative_to(root).as_posix()
        files[where] = len(text.splitlines())
        functions += _functions(where, text)
    return Folder(name, files, functions)


def complaints(folders: list[Folder]) -> list[str]:
    """What passes a limit, one line each."""
    functions = [function for folder in folders for function in folder.functions]
    long = [function for function in functions if function.lines > LONG_FUNCTION]
    found = [
        f"{path}: {lines} lines, more than {MAX_FILE}"
        for folder in folders
        for path, lines in folder.files.items()
        if lines > MAX_FILE
    ]
    found += [
        f"{function.where}: {function.lines} lines, more than {MAX_FUNCTION}"
        for function in long
        if function.lines > MAX_FUNCTION
    ]
    if len(long) > MAX_LONG_SHARE * len(functions):
        share = f"{len(long)} of {len(functions)} functions have more than {LONG_FUNCTION} lines"
        found.append(f"{share}, more than {MAX_LONG_SHARE:.0%}")
    return found


def report(folders: list[Folder]) -> Iterator[str]:
    """The table, and what is long but allowed, line by line."""
    yield f"{'':14}{'files':>7}{'lines':>8}{'functions':>11}{'median':>8}{'longest':>9}"
    for folder in folders:
        lengths = [function.lines for function in folder.functions] or [0]
        yield (
            f"{folder.name:14}{len(folder.files):7}{sum(folder.files.values()):8}"
            f"{len(folder.functions):11}{median(lengths):8.0f}{max(lengths):9}"
        )
    for folder in folders:
        for function in folder.functions:
            if function.lines > LONG_FUNCTION:
                yield f"long: {function.where}: {function.lines} lines"


def main(root: Path = ROOT) -> int:
    """Print the report; 1 when a limit is passed, else 0."""
    folders = [measure(root, name) for name in FOLDERS]
    print(*report(folders), sep="\n")
    found = complaints(folders)
    for line in found:
        print(f"too long: {line}", file=sys.stderr)
    return 1 if found else 0


def _functions(where: str, text: str) -> Iterator[Function]:
    for node in ast.walk(ast.parse(text, where)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            lines = node.end_lineno - node.lineno + 1
            yield Function(f"{where}:{node.lineno} {node.name}", lines)


if __name__ == "__main__":
    sys.exit(main())
