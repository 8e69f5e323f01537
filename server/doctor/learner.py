"""What learners need: torch and what exports a policy, in a process of its own as they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from robot_client.findings import Finding
from server.settings import Settings

_NAME = "learner"
_PATIENCE_S = 120.0  # a cold disk
_DEVICES = (Path("/dev/nvidia0"), Path("/dev/nvidiactl"))
_LOOK = """
import json, torch, onnx, onnxscript, safetensors
count = torch.cuda.device_count() if torch.cuda.is_available() else 0
print(json.dumps({
    "torch": torch.__version__,
    "threads": torch.get_num_threads(),
    "gpus": [torch.cuda.get_device_name(n) for n in range(count)],
}))
"""


def check(_settings: Settings) -> Iterator[Finding]:
    """Whether a learner could start, and on what it would learn."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _LOOK], capture_output=True, text=True, timeout=_PATIENCE_S
        )
    except subprocess.TimeoutExpired:
        text = f"torch was not loaded within {_PATIENCE_S:.0f} s"
        yield Finding(_NAME, "FAIL", text, "is the disk or the machine overloaded?")
        return
    if done.returncode != 0:
        why = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        yield Finding(_NAME, "FAIL", why, "pip install 'dreamfleet[learner]'")
        return
    found = json.loads(done.stdout.splitlines()[-1])
    yield Finding(
        _NAME,
        "OK",
        f"torch {found['torch']}, {os.cpu_count()} processors, {found['threads']} threads",
    )
    yield _device(found, any(path.exists() for path in _DEVICES))


def _device(found: dict[str, Any], has_nvidia: bool) -> Finding:
    if found["gpus"]:
        return Finding(_NAME, "OK", f"learns on {', '.join(found['gpus'])}")
    if has_nvidia:
        advice = "install a torch that was built for CUDA, and a driver that is new enough for it"
        return Finding(_NAME, "WARN", "torch does not see the NVIDIA device", advice)
    return Finding(_NAME, "OK", "no GPU: learns on processors, which is enough for small networks")
