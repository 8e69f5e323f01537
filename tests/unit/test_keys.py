"""Key files: for their owner only, and refused when damaged."""

import stat
from pathlib import Path

import pytest

from robot_client import keys
from robot_client.errors import LinkError


def test_keys_are_written_for_their_owner_only(tmp_path: Path) -> None:
    pair = keys.generate()
    path = keys.write(tmp_path / "keys", "ball", pair)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert keys.read(path) == pair
    assert keys.read_public(path.with_suffix(".pub")) == pair.public
    assert pair.secret not in repr(pair)
    with pytest.raises(LinkError, match="exists"):
        keys.write(tmp_path / "keys", "ball", pair)
    path.chmod(0o644)
    with pytest.raises(LinkError, match="chmod 600"):
        keys.read(path)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"public": "x", "secret": 3}'])
def test_damaged_keys_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ball.key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(LinkError, match="not a key file"):
        keys.read(path)
    with pytest.raises(LinkError, match="not a public key"):
        keys.read_public(path)
    with pytest.raises(LinkError):
        keys.read(tmp_path / "nothing.key")
