"""One end of a web socket to an application of this process, on the same event loop."""

import asyncio
import json
from contextlib import asynccontextmanager


class Closed(Exception):
    """The application has closed the socket: code and reason."""


class Socket:
    def __init__(self):
        self._to, self._from = asyncio.Queue(), asyncio.Queue()

    async def ask(self, **message):
        """Send JSON; the JSON that answers it."""
        await self._to.put({"type": "websocket.receive", "text": json.dumps(message)})
        return json.loads((await self.hear())["text"])

    async def hear(self):
        message = await asyncio.wait_for(self._from.get(), 20)
        if message["type"] == "websocket.close":
            raise Closed(message["code"], message.get("reason", ""))
        return message


@asynccontextmanager
async def connected(app, path, **headers):
    """A socket that has been accepted. Raises Closed when it is not."""
    socket = Socket()
    scope = {
        "type": "websocket",
        "path": f"/api/v1{path}",
        "raw_path": f"/api/v1{path}".encode(),
        "query_string": b"",
        "headers": [(k.lower().encode(), v.encode()) for k, v in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
        "scheme": "ws",
        "subprotocols": [],
        "state": {},
    }
    await socket._to.put({"type": "websocket.connect"})
    task = asyncio.create_task(app(scope, socket._to.get, socket._from.put))
    try:
        await socket.hear()
        yield socket
    finally:
        await socket._to.put({"type": "websocket.disconnect", "code": 1006})
        await asyncio.wait_for(task, 20)
