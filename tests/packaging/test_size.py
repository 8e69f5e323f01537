from pathlib import Path

import pytest

from tests.packaging import size


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """One file with fifty short functions: nothing to complain of."""
    write(tmp_path, "sim/short.py", "\n".join(function(f"f{n}", 3) for n in range(50)))
    return tmp_path


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def function(name: str, lines: int) -> str:
    return "\n".join([f"def {name}():", *["    pass"] * (lines - 1)])


def test_this_house_is_within_its_limits():
    folders = [size.measure(size.ROOT, name) for name in size.FOLDERS]
    assert size.complaints(folders) == []
    for folder in folders:
        assert folder.files, f"{folder.name} is empty: is the list of folders right?"


def test_what_is_within_the_limits_passes(house, capsys):
    write(house, "sim/wide.py", "\n" * size.MAX_FILE)
    write(house, "sim/long.py", function("long", size.MAX_FUNCTION))
    assert size.main(house) == 0
    assert "long: sim/long.py:1 long: 120 lines" in capsys.readouterr().out


def test_a_long_file_fails(house, capsys):
    write(house, "agents/wide.py", "\n" * (size.MAX_FILE + 1))
    assert size.main(house) == 1
    assert "agents/wide.py: 451 lines" in capsys.readouterr().err


def test_a_very_long_function_fails(house, capsys):
    write(house, "agents/long.py", function("huge", size.MAX_FUNCTION + 1))
    assert size.main(house) == 1
    assert "agents/long.py:1 huge: 121 lines" in capsys.readouterr().err


def test_too_many_long_functions_fail(house, capsys):
    for name in ("a", "b"):
        write(house, f"agents/{name}.py", function(name, size.LONG_FUNCTION + 1))
    assert size.main(house) == 1
    assert "2 of 52 functions have more than 60 lines" in capsys.readouterr().err


def test_methods_and_coroutines_count(tmp_path):
    text = "class A:\n    def f(self):\n        pass\n\nasync def g():\n    pass\n    pass\n"
    write(tmp_path, "server/a.py", text)
    found = {f.where: f.lines for f in size.measure(tmp_path, "server").functions}
    assert found == {"server/a.py:2 f": 2, "server/a.py:5 g": 3}
