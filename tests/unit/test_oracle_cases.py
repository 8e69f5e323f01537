"""Every golden case is asked for by a test: numbers that nothing is compared with say nothing."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from tests.oracle_cases import FOLDER, cases

HERE = Path(__file__).parent
READERS = [p for p in HERE.glob("test_*.py") if "oracle" in p.read_text() and p != Path(__file__)]


def asked_for(path: Path) -> Iterator[str]:
    """What the tests of a module have as parameters, and what it names where it calls `load`."""
    for found in vars(import_module(f"tests.unit.{path.stem}")).values():
        for mark in getattr(found, "pytestmark", []):
            if mark.name == "parametrize":
                yield from (value for value in mark.args[1] if isinstance(value, str))
    calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    for call in calls:
        if isinstance(call.func, ast.Name) and call.func.id == "load":
            yield from (str(arg.value) for arg in call.args if isinstance(arg, ast.Constant))


def test_every_golden_case_is_loaded_by_a_test() -> None:
    there = [case for file in FOLDER.glob("*.json") for case in cases(file.stem)]
    assert len(there) == len(set(there)) > 0, "two files have a case of one name"
    unused = set(there) - {name for path in READERS for name in asked_for(path)}
    assert not unused, f"no test loads {sorted(unused)}"
