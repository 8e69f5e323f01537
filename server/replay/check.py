"""Verifies a replay store that a server may be writing: `python -m server.replay.check DIRECTORY`.

A process of its own, because a walk over all rows takes long and would hold up the server's own use
of the store. Prints the audit as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path

from server.errors import ReplayError, ServerError
from server.replay.audit import Audit
from server.replay.store import ReplayStore


async def verify(directory: Path) -> Audit:
    """Walk all chunks of the store. Raises ServerError when that fails."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "server.replay.check", str(directory)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        out, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise ServerError(f"the replay was not verified: {errors.decode(errors='replace')[-2000:]}")
    found = json.loads(out)
    return Audit(**found | {"problems": tuple(found["problems"])})


def main() -> None:
    """Verify the store of the directory given."""
    try:
        store = ReplayStore(Path(sys.argv[1]), readonly=True)
    except ReplayError as error:
        raise SystemExit(str(error)) from error
    try:
        json.dump(asdict(store.verify()), sys.stdout)
    finally:
        store.close()


if __name__ == "__main__":
    main()
