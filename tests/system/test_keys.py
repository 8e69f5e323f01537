"""A lab on a network: a server on every address, a robot with a key, an operator with a token."""

import json
import subprocess
import sys

import httpx

from tests.system.harness import ENVIRONMENT, QUICK, ROOT, Child, Server, wait_until


def run(module, *arguments, **environment):
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=ENVIRONMENT | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def is_connected(server):
    answer = server.get("/robots")
    (robot,) = answer["items"] if isinstance(answer, dict) else answer
    return robot["connected"]


def test_from_nothing_to_a_revoked_robot(tmp_path, monkeypatch):
    data, home = ("--data", tmp_path / "data"), {"HOME": str(tmp_path)}
    robot = json.loads(run("robot_client.cli", "enrol", "--name", "ball-1", "--json", **home))
    key = f"--key={robot['key']}"
    run("server.cli", "keys", "enrol", "ball-1", key, *data)
    public = json.loads(run("server.cli", "keys", "show", "--json", *data))["server"]
    run("robot_client.cli", "enrol", "--name", "ball-1", f"--server-key={public}", **home)
    token = run("server.cli", "tokens", "create", "ann", "--role", "operator", *data).strip()
    server = Server(tmp_path, "--host", "0.0.0.0")
    server.gateway = server.gateway.replace("127.0.0.1", "0.0.0.0")
    server._client.headers["Authorization"] = f"Bearer {token}"
    with server:
        stranger = httpx.get(f"http://127.0.0.1:{server.port}/api/v1/robots")
        assert stranger.status_code == 401
        made = server.post("/experiments", {"name": "x", "agent": "random", **QUICK})["id"]
        server.post(f"/experiments/{made}/start")
        address = server.gateway.replace("0.0.0.0", "127.0.0.1")
        run_robot = ("run", "ball", "--name", "ball-1", "--server", address, "--with-parent")

        def stored():
            return server.get(f"/experiments/{made}")["rows"]

        monkeypatch.setitem(ENVIRONMENT, "HOME", str(tmp_path))
        client = Child(("robot_client.cli", *run_robot), tmp_path / "robot.log")
        try:
            wait_until(stored, client.tail)
            run("server.cli", "keys", "revoke", "ball-1", *data)
            wait_until(lambda: not is_connected(server), client.tail)
            rows = stored()
            assert client.running  # it keeps acting, and keeps its rows
        finally:
            client.kill()
        server.kill()
        server.start()
        assert stored() == rows
        assert "was killed" in server.absences(made)[0]
        assert server.get("/keys")["robots"][0]["revoked_by"].startswith("shell:")
        done = [(x["who"].partition(":")[0], x["operation"]) for x in server.get("/audit")["items"]]
        assert ("shell", "revoke_key") in done
        assert "ann" in dict(done)
