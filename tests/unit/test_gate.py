"""Who may do what through REST, and what the audit log says of it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import pytest
from starlette.websockets import WebSocket

from robot_client import keys
from server.access import RobotKeys, Tokens
from server.access.guard import ATTEMPTS
from server.api.gate import COOKIE, OPEN
from server.app import build_app
from tests.unit.house import House, open_house


@dataclass
class Closed:
    """A server that asks for tokens, and one of each role."""

    house: House
    operator: str
    viewer: str

    async def ask(self, token, method, path, body=None, **headers):
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return await self.house.http.request(method, path, json=body, headers=headers)

    async def status(self, token, method, path, body=None, **headers):
        return (await self.ask(token, method, path, body, **headers)).status_code

    async def audit(self):
        return (await self.ask(self.operator, "GET", "/audit")).json()["items"]


@asynccontextmanager
async def closed_house(tmp_path):
    tokens = Tokens(tmp_path)
    texts = [tokens.create(name, name, "test")[1] for name in ("operator", "viewer")]
    async with open_house(tmp_path) as house:
        yield Closed(house, *texts)


def when_closed(tmp_path, act):
    async def run():
        async with closed_house(tmp_path) as closed:
            return await act(closed)

    return asyncio.run(run())


NEW = {"name": "ball", "agent": "fake"}


def test_a_viewer_looks_and_cannot_start_an_experiment(tmp_path):
    async def act(closed):
        made = (await closed.ask(closed.operator, "POST", "/experiments", NEW)).json()["id"]
        path = f"/experiments/{made}"
        refused = await closed.ask(closed.viewer, "POST", f"{path}/start")
        assert (refused.status_code, refused.json()["title"]) == (403, "forbidden")
        assert "viewer" in refused.json()["detail"]
        assert (await closed.ask(closed.viewer, "GET", path)).json()["state"] == "created"
        assert await closed.status(closed.viewer, "POST", "/experiments", NEW) == 403
        for method in ("PUT", "PATCH", "DELETE"):
            assert await closed.status(closed.viewer, method, path) == 403
        assert await closed.status(closed.viewer, "GET", "/keys") == 200
        for path_of_operators in ("/tokens", "/audit"):
            assert await closed.status(closed.viewer, "GET", path_of_operators) == 403
            assert await closed.status(closed.operator, "GET", path_of_operators) == 200
        assert await closed.status(closed.operator, "POST", f"{path}/start") == 200
        who = (await closed.ask(closed.viewer, "GET", "/whoami")).json()
        assert who == {"name": "viewer", "role": "viewer"}

    when_closed(tmp_path, act)


def test_every_route_there_is_asks_for_a_token_but_those_that_are_open(tmp_path):
    async def act(closed):
        document = build_app(closed.house.service).openapi()
        assert document["paths"]["/api/v1/robots"]["get"]["security"] == [{"DocumentedToken": []}]
        problem = await closed.ask("df_x_y", "GET", "/robots")  # first: wrong ones are counted
        assert problem.headers["WWW-Authenticate"] == "Bearer"
        assert problem.json()["title"] == "unauthorized"
        asked = 0
        for path, methods in document["paths"].items():
            filled = path.replace("{", "").replace("}", "").removeprefix("/api/v1")
            for method in methods:
                answer = await closed.ask(None, method.upper(), filled, {})
                assert (path in OPEN) == (answer.status_code not in (401, 429)), (method, path)
                asked += 1
        assert asked > 20
        for path in ("/", "/page.js", "/docs", "/openapi.json", "/nothing"):
            assert (await closed.house.http.get(f"http://test{path}")).status_code == 401

    when_closed(tmp_path, act)


def test_a_body_that_is_no_json_is_not_even_read_before_the_token(tmp_path):
    async def act(closed):
        answer = await closed.house.http.post("/experiments", content=b"{" * 1000)
        assert answer.status_code == 401

    when_closed(tmp_path, act)


def test_the_page_sends_to_the_login_which_sets_a_cookie_that_scripts_cannot_read(tmp_path):
    async def act(closed):
        http, page = closed.house.http, {"Accept": "text/html,*/*"}
        sent = await http.get("http://test/", headers=page)
        assert (sent.status_code, sent.headers["location"]) == (303, "/login.html")
        deep = await http.get("http://test/experiments/a%20b?x=1&y=2", headers=page)
        wanted = "/login.html?next=/experiments/a%2520b%3Fx%3D1%26y%3D2"
        assert (deep.status_code, deep.headers["location"]) == (303, wanted)
        login = await http.get("http://test/login.html")
        assert login.status_code == 200
        assert "api/v1/login" in login.text
        assert (await http.post("/login", json={"token": "df_1_2"})).status_code == 401
        good = await http.post("/login", json={"token": closed.viewer})
        assert good.json() == {"name": "viewer", "role": "viewer"}
        cookie = good.headers["set-cookie"]
        for part in (COOKIE, "HttpOnly", "SameSite=strict", "Path=/"):
            assert part in cookie
        assert "Secure" not in cookie
        secure = httpx.AsyncClient(transport=http._transport, base_url="https://test/api/v1")
        assert (
            "Secure"
            in (await secure.post("/login", json={"token": closed.viewer})).headers["set-cookie"]
        )
        assert (await http.get("http://test/page.js", headers=page)).status_code == 200
        assert (await http.get("/robots")).status_code == 200  # httpx keeps cookies
        assert (await http.post("/experiments", json=NEW)).status_code == 403
        Tokens(tmp_path).revoke("viewer", "test")
        assert (await http.get("/robots")).status_code == 401
        assert (await http.post("/logout")).status_code == 401
        for _ in range(ATTEMPTS):  # a page that is left open with an old cookie
            sent = await http.get("http://test/", headers=page)
            assert (sent.status_code, sent.headers["location"]) == (303, "/login.html")
        http.cookies.clear()
        assert {x["outcome"] for x in await closed.audit() if x["method"] == "GET"} == {"refused"}
        assert (await http.get("/robots")).status_code == 401

    when_closed(tmp_path, act)


def test_signing_out_forgets_the_cookie(tmp_path):
    async def act(closed):
        http = closed.house.http
        await http.post("/login", json={"token": closed.operator})
        assert (await http.post("/logout")).status_code == 204
        assert (await http.get("/robots")).status_code == 401

    when_closed(tmp_path, act)


def test_a_token_from_elsewhere_counts_at_the_next_request(tmp_path):
    async def act(closed):
        _, text = Tokens(tmp_path).create("late", "viewer", "test")
        assert await closed.status(text, "GET", "/robots") == 200
        Tokens(tmp_path).revoke("late", "test")
        assert await closed.status(text, "GET", "/robots") == 401

    when_closed(tmp_path, act)


def test_tokens_are_made_and_ended_through_rest_and_shown_once(tmp_path):
    async def act(closed):
        made = await closed.ask(closed.operator, "POST", "/tokens/ann", {"role": "operator"})
        assert made.status_code == 201
        text = made.json()["token"]
        listed = await closed.ask(text, "GET", "/tokens")
        assert [t["name"] for t in listed.json()] == ["operator", "viewer", "ann"]
        assert listed.json()[2]["used_at"] is not None
        assert text.split("_", 2)[2] not in listed.text
        assert "sha256" not in listed.text
        again = await closed.ask(closed.operator, "POST", "/tokens/ann", {"role": "viewer"})
        assert again.status_code == 409
        assert await closed.status(closed.operator, "POST", "/tokens/b", {"role": "root"}) == 422
        assert await closed.status(closed.operator, "POST", "/tokens/ann/revoke") == 200
        assert await closed.status(text, "GET", "/tokens") == 401
        assert await closed.status(closed.operator, "POST", "/tokens/ann/revoke") == 404

    when_closed(tmp_path, act)


def test_keys_are_enrolled_rotated_and_revoked_through_rest(tmp_path):
    old, new = keys.generate().public, keys.generate().public

    async def act(closed):
        async def tell(verb, **body):
            answer = await closed.ask(closed.operator, "POST", f"/keys/arm/{verb}", body)
            return answer.status_code, answer.json()

        assert (await tell("enrol", key="short"))[0] == 422
        status, view = await tell("enrol", key=old)
        assert (status, view["robot"], view["valid"], view["added_by"]) == (
            201,
            "arm",
            True,
            "operator",
        )
        assert (await tell("enrol", key=new))[0] == 409
        assert (await tell("rotate", key=new, overlap_s=3600))[0] == 201
        listed = (await closed.ask(closed.viewer, "GET", "/keys")).json()
        assert len(listed["server"]) == 40
        assert [key["valid"] for key in listed["robots"]] == [True, True]
        assert [k["key"] for k in (await tell("revoke", key=old))[1]] == [old]
        assert RobotKeys(tmp_path).name_of(old) is None
        assert RobotKeys(tmp_path).name_of(new) == "arm"
        assert (await tell("revoke"))[0] == 200
        assert (await tell("revoke"))[0] == 404

    when_closed(tmp_path, act)


def test_the_audit_log_says_who_did_what_with_what_outcome(tmp_path):
    async def act(closed):
        made = (await closed.ask(closed.operator, "POST", "/experiments", NEW)).json()["id"]
        await closed.ask(closed.viewer, "POST", f"/experiments/{made}/start")
        await closed.ask(closed.operator, "POST", f"/experiments/{made}/start")
        await closed.ask(closed.operator, "POST", "/robots/nobody/pause")
        await closed.ask("df_1_wrong", "GET", "/robots")
        await closed.ask(None, "GET", "/robots")  # nobody tried anything
        await closed.ask(None, "POST", f"/experiments/{made}/stop")
        await closed.house.http.post("/login", json={"token": closed.viewer})
        closed.house.http.cookies.clear()
        lines = (await closed.audit())[::-1]
        said = [(x["who"], x["method"], x["outcome"], x["status"]) for x in lines]
        assert said == [
            ("operator", "POST", "done", 201),
            ("viewer", "POST", "refused", 403),
            ("operator", "POST", "done", 200),
            ("operator", "POST", "refused", 404),
            ("unknown", "GET", "refused", 401),
            ("unknown", "POST", "refused", 401),
            ("viewer", "POST", "done", 200),
        ]
        assert lines[2]["parameters"] == {"experiment": made, "verb": "start"}
        assert "change" in lines[2]["operation"]
        assert lines[1]["operation"] == f"/api/v1/experiments/{made}/start"
        assert lines[0]["time"] <= lines[-1]["time"]
        older = (
            await closed.ask(closed.operator, "GET", f"/audit?offset={len(lines) - 2}")
        ).json()["items"]
        assert [x["id"] for x in older] == [lines[1]["id"], lines[0]["id"]]
        for line in lines:
            assert closed.operator not in str(line)

    when_closed(tmp_path, act)


def test_a_flood_of_wrong_tokens_is_limited_and_does_not_fill_the_log(tmp_path):
    async def act(closed):
        statuses = [await closed.status("wrong", "GET", "/robots") for _ in range(ATTEMPTS + 5)]
        assert statuses == [401] * ATTEMPTS + [429] * 5
        assert await closed.status(None, "POST", "/experiments", NEW) == 429
        assert await closed.status(closed.operator, "GET", "/robots") == 200
        assert len(await closed.audit()) == ATTEMPTS

    when_closed(tmp_path, act)


def test_without_tokens_loopback_is_open_and_noted_as_such(tmp_path):
    async def act():
        async with open_house(tmp_path) as house:
            made = await house.create()
            assert (await house.ask("GET", "/whoami")) == {"name": "loopback", "role": "operator"}
            (line,) = await house.items("/audit")
            assert (line["who"], line["outcome"]) == ("loopback", "done")
            proxied = await house.http.get("/robots", headers={"X-Forwarded-For": "1.2.3.4"})
            assert proxied.status_code == 401
            first = await house.ask("POST", "/tokens/ann", {"role": "operator"}, 201)
            await house.ask("GET", f"/experiments/{made}", status=401)
            house.http.headers["Authorization"] = f"Bearer {first['token']}"
            await house.ask("GET", f"/experiments/{made}")

    asyncio.run(act())


@pytest.mark.parametrize(
    ("origin", "status"),
    [("https://test", 404), ("https://evil.example", 403), ("null", 403)],
)
def test_with_tokens_the_servers_own_page_may_be_anywhere(tmp_path, origin, status):
    async def act(closed):
        assert await closed.status(closed.operator, "POST", "/robots/x/pause", Origin=origin) == (
            status
        )

    when_closed(tmp_path, act)


def test_a_web_socket_takes_an_operator_and_a_page_of_ours(tmp_path):
    async def act(closed):
        app = build_app(closed.house.service)

        @app.websocket("/api/v1/socket")
        async def socket(websocket: WebSocket):
            await websocket.accept()
            await websocket.close()

        app.router.routes.insert(0, app.router.routes.pop())  # the page takes what is left

        async def said(token, **headers):
            pairs = {"host": "test", "authorization": f"Bearer {token}"} | headers
            scope = {
                "type": "websocket",
                "path": "/api/v1/socket",
                "headers": [(k.encode(), v.encode()) for k, v in pairs.items()],
                "query_string": b"",
            }
            sent = []

            async def receive():
                return {"type": "websocket.connect"}

            async def send(message):
                sent.append(message["type"].removeprefix("websocket."))

            await app(scope, receive, send)
            return sent

        assert await said(closed.operator) == ["accept", "close"]
        assert await said(closed.viewer) == ["close"]
        assert await said("wrong") == ["close"]
        assert await said(closed.operator, origin="http://evil.example") == ["close"]
        statuses = [line["status"] for line in await closed.audit()]
        assert statuses == [403, 403, 403, 101]

    when_closed(tmp_path, act)
