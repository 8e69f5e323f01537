"""Who may come in: robots by their keys, people and programs by tokens."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from nicegui import ui

from server.access.robot_keys import OVERLAP_S
from server.dashboard.parts import NONE, button, cell, clock, panel, pill, sure, table
from server.dashboard.visit import Refused, Visit


async def build(visit: Visit) -> None:
    """The page."""
    with ui.element("div").classes("stack-y"):
        keys = _Keys(visit)
        await keys.load()
        if visit.may_act:
            await _Tokens(visit).load()
        else:
            ui.label("Tokens are for operators to see.").classes("quiet")


class _Keys:
    """The keys of robots."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        with panel("Robots' keys"):
            ui.label("The server's public key, which every robot is given:").classes("field-hint")
            self._server = ui.label().classes("secret")
            if visit.may_act:
                self._form()
            with ui.element("div").classes("scroll"):
                self._body = table("robot", "key", "state", "enrolled", "last used", "")

    async def load(self) -> None:
        """Read the keys."""
        found = await self._visit.get("/keys")
        self._server.text = found["server"] or "none yet: it is made with the first robot's key"
        self._body.clear()
        for key in reversed(found["robots"]):
            with self._body, ui.element("tr"):
                self._row(key)

    def _form(self) -> None:
        with ui.element("div").classes("bar"):
            self._robot = ui.input("robot").props("dense outlined").props("data-mark=key-robot")
            self._key = ui.input("public key, as dreamfleet-robot enrol prints it")
            self._key.props("dense outlined").classes("key").props("data-mark=key")
            button("Enrol", "person_add", self._enrol, "solid").props("data-mark=enrol")
            hint = f"the old key stays valid for {OVERLAP_S / 3600:g} hours"
            button("Rotate", "autorenew", self._rotate, hint=hint).props("data-mark=rotate")

    def _row(self, key: dict[str, Any]) -> None:
        cell(key["robot"], "heading")
        cell(key["key"], "mono")
        with cell():
            pill(*_state(key))
        cell(f"{clock(key['added_at'], date=True)} by {key['added_by']}")
        cell(clock(key["used_at"], date=True) if key["used_at"] else NONE)
        with cell(classes="right"):
            if key["valid"] and self._visit.may_act:
                button("Revoke", "block", lambda: self._revoke(key))

    async def _enrol(self) -> None:
        path = f"/keys/{self._named()}/enrol"
        await self._give(path, {"key": self._key.value or ""})

    async def _rotate(self) -> None:
        path = f"/keys/{self._named()}/rotate"
        await self._give(path, {"key": self._key.value or "", "overlap_s": OVERLAP_S})

    def _named(self) -> str:
        return quote(self._robot.value or "", safe="")

    async def _give(self, path: str, body: dict[str, Any]) -> None:
        """Enrol or rotate; what is wrong is said at its field."""
        for field in (self._robot, self._key):
            field.error = None
        try:
            await self._visit.ask("POST", path, body)
        except Refused as error:
            (self._key if error.field == "key" else self._robot).error = str(error)
            return
        self._robot.value = self._key.value = ""
        await self.load()

    async def _revoke(self, key: dict[str, Any]) -> None:
        question = f"Revoke this key of {key['robot']}? Its next message is refused."
        if await sure(question, "Revoke"):
            path = f"/keys/{quote(key['robot'], safe='')}/revoke"
            await self._visit.act("POST", path, {"key": key["key"]})
            await self.load()


class _Tokens:
    """The tokens; the text of a new one is shown once."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        with panel("Tokens", more="for people and programs"):
            with ui.element("div").classes("bar"):
                self._name = ui.input("name").props("dense outlined").props("data-mark=token-name")
                self._role = ui.select(["viewer", "operator"], value="viewer", label="role")
                self._role.props("dense outlined").classes("filter").props("data-mark=token-role")
                button("Create", "add", self._create, "solid").props("data-mark=create-token")
            with ui.element("div") as self._once:
                ui.label("This token is shown once; keep it now:").classes("field-hint")
                self._text = ui.label().classes("secret").props("data-mark=secret")
            self._once.set_visibility(False)
            with ui.element("div").classes("scroll"):
                self._body = table("name", "role", "state", "created", "last used", "")

    async def load(self) -> None:
        """Read the tokens."""
        self._body.clear()
        for token in reversed(await self._visit.get("/tokens")):
            with self._body, ui.element("tr"):
                self._row(token)

    def _row(self, token: dict[str, Any]) -> None:
        revoked = token["revoked_at"] is not None
        cell(token["name"], "heading")
        cell(token["role"])
        with cell():
            pill("revoked", "off") if revoked else pill("valid", "good")
        cell(f"{clock(token['added_at'], date=True)} by {token['added_by']}")
        cell(clock(token["used_at"], date=True) if token["used_at"] else NONE)
        with cell(classes="right"):
            if not revoked:
                button("Revoke", "block", lambda: self._revoke(token["name"]))

    async def _create(self) -> None:
        self._name.error = None
        first = not await self._visit.get("/tokens")
        try:
            name, body = quote(self._name.value or "", safe=""), {"role": self._role.value}
            made = await self._visit.ask("POST", f"/tokens/{name}", body)
        except Refused as error:
            self._name.error = str(error)
            return
        self._name.value = ""
        self._text.text = made["token"]
        self._once.set_visibility(True)
        if not first:  # else everybody, this page too, has to sign in from now on
            await self.load()

    async def _revoke(self, name: str) -> None:
        if await sure(f"Revoke the token {name!r} for good?", "Revoke"):
            await self._visit.act("POST", f"/tokens/{quote(name, safe='')}/revoke")
            await self.load()


def _state(key: dict[str, Any]) -> tuple[str, str]:
    if not key["valid"]:
        return ("revoked" if key["revoked_by"] else "ended"), "off"
    if key["until"] is not None:
        return f"until {clock(key['until'], date=True)}", "warn"
    return "valid", "good"
