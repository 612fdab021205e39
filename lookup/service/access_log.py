"""One line in the log for each request."""

import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lookup.log import write_line
from lookup.service.errors import fault


class AccessLog:
    """Writes one line for each request; an unexpected error is answered with 500, and the line names it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and write its line once the answer is sent."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, recorder = time.monotonic(), _StatusRecorder(send)
        details: dict[str, Any] = {}
        try:
            await self._app(scope, receive, recorder.send)
        except Exception as error:  # noqa: BLE001 - whatever it is, one line in the log names it
            details["fault"] = f"{type(error).__name__}: {error}"
            if recorder.status is None:
                await fault(500, "the service has failed; its log says how")(scope, receive, recorder.send)
        if label := scope.get("state", {}).get("label"):
            details = {"label": label, **details}
        write_line(
            method=scope["method"],
            path=scope["path"],
            status=recorder.status,
            ms=round(1000 * (time.monotonic() - started), 1),
            **details,
        )


class _StatusRecorder:
    """Sends the messages of an answer, and remembers its status."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status: int | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)
