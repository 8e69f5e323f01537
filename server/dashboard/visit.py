"""A page that is open in somebody's browser: what it reads, asks for, and hears of."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import httpx
from nicegui import Client, background_tasks, ui
from starlette.requests import Request

from robot_client.errors import DreamfleetError
from server.access import Caller, Guard
from server.api.gate import address_of, token_of
from server.dashboard.house import LOOK_S, House
from server.feed import News, Subscription

log = logging.getLogger(__name__)

_FORWARDED = ("forwarded", "x-forwarded-for")
_GATHER_S = 0.1  # news that come together are shown together
Refresh = Callable[[list[News]], Awaitable[None] | None]


class Refused(DreamfleetError):
    """REST has said no. `field` is what was wrong, empty where it was no value."""

    def __init__(self, status: int, detail: str, field: str = "") -> None:
        super().__init__(detail)
        self.status, self.field = status, field


class Visit:
    """One open page.

    Args:
        client: NiceGUI's.
        request: with which the page was asked for; its token is used for all that the page does.
    """

    def __init__(self, client: Client, request: Request) -> None:
        self.client = client
        self.house: House = request.state.house
        self.caller: Caller = request.state.caller
        self.service = self.house.service
        self.cookies = request.cookies
        self._guard: Guard = self.house.rest.state.guard
        self._token, self._address = token_of(request), address_of(request)
        self._told = False
        self._headers = {k: request.headers[k] for k in _FORWARDED if k in request.headers}
        self._is_forwarded = bool(self._headers)
        if self._token is not None:
            self._headers["Authorization"] = f"Bearer {self._token}"

    @classmethod
    def of_page(cls) -> Visit:
        """The visit whose page is being built."""
        client = ui.context.client
        return cls(client, client.request)

    @property
    def may_act(self) -> bool:
        """Whether to offer buttons. What they ask for, the gate decides each time."""
        return self.caller.role == "operator"

    async def get(self, path: str, **query: Any) -> Any:
        """What REST answers. Raises Refused."""
        return await self.ask("GET", path, query=query)

    async def ask(
        self, method: str, path: str, body: Any = None, query: dict[str, Any] | None = None
    ) -> Any:
        """Ask REST in the visitor's name, in this process. Raises Refused."""
        transport = httpx.ASGITransport(
            self.house.rest, raise_app_exceptions=False, client=(self._address, 0)
        )
        given = {name: value for name, value in (query or {}).items() if value is not None}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://localhost/api/v1", headers=self._headers
        ) as rest:
            answer = await rest.request(method, path, json=body, params=given)
        if answer.is_error:
            problem = answer.json()
            raise Refused(answer.status_code, problem["detail"], problem.get("field") or "")
        return answer.json() if answer.content else None

    async def act(self, method: str, path: str, body: Any = None, said: str = "") -> bool:
        """Ask for a change and say on the page what came of it: whether it was done."""
        try:
            await self.ask(method, path, body)
        except Refused as error:
            self.complain(str(error))
            return False
        if said:
            self.say(said)
        return True

    def say(self, text: str) -> None:
        """Tell the visitor that something is done."""
        with self.client:
            ui.notify(text, type="positive", position="bottom-right", timeout=2500)

    def complain(self, text: str) -> None:
        """Tell the visitor what went wrong."""
        with self.client:
            ui.notify(text, type="negative", position="bottom-right", timeout=8000, multi_line=True)

    def follow(self, refresh: Refresh) -> None:
        """Call `refresh` with the news as they come, and with none twice a second, for as long as
        the page is open and its token good."""
        background_tasks.create(self._follow(refresh), name=f"follow {self.client.id}")

    async def _follow(self, refresh: Refresh) -> None:
        with self.service.experiments.feed.subscribe() as news:
            while not self.client.is_deleted:
                heard = await _gather(news)
                if self.client.is_deleted or not self._is_welcome():
                    return
                if self.client.has_socket_connection:
                    await self._show(refresh, heard)

    async def _show(self, refresh: Refresh, heard: list[News]) -> None:
        try:
            with self.client:
                shown = refresh(heard)
                if shown is not None:
                    await shown
        except Exception:  # one thing that cannot be shown must not keep the rest from the eye
            log.exception("a page could not be brought up to date")

    def _is_welcome(self) -> bool:
        """Whether the token is still good; if not, the page stands still and says so."""
        with suppress(DreamfleetError):
            caller = self._guard.caller(self._token, self._address, self._is_forwarded)
            return caller == self.caller
        if not self._told:  # and no more: this page may show a token that was made just now
            self._told = True
            with self.client:
                text = "This page is no longer signed in. Reload it to sign in."
                ui.notify(text, type="warning", position="top", timeout=0)
        return False


async def _gather(news: Subscription) -> list[News]:
    """The next news with those that come right after them; none when LOOK_S is quiet."""
    heard: list[News] = []
    with suppress(TimeoutError):
        async with asyncio.timeout(LOOK_S):
            heard.append(await news.get())
    with suppress(TimeoutError):
        async with asyncio.timeout(_GATHER_S if heard else 0.0):
            while True:
                heard.append(await news.get())
    return heard
