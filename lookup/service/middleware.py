"""Layers around the application: limits of requests, and headers of every answer."""

import asyncio
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lookup.service.errors import fault

# A body that is too large is read up to this many times its limit and dropped, so that the client reads the answer.
_DRAIN_FACTOR = 8
_HEADER_BYTES = 16_384
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; connect-src 'self'; img-src 'self' blob: data:; style-src 'self';"
    " script-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class RequestLimits:
    """Limits of requests.

    Attributes
    ----------
    megabytes : int
        Size of a body.
    seconds : float
        Time that a body may take to arrive.
    waiting : int
        Requests that may wait for a worker; the service answers others with 503.
    """

    megabytes: int = 20
    seconds: float = 30.0
    waiting: int = 64


class LimitRequests:
    """Limits the headers, the body and its time of arrival, and the number of requests at a time.

    Parameters
    ----------
    app : ASGI application
    limits : RequestLimits
    workers : int
        Requests that are worked on at a time, besides those that wait.
    """

    def __init__(self, app: ASGIApp, limits: RequestLimits, workers: int) -> None:
        self._app, self._limits = app, limits
        self._n_open, self._max_open = 0, limits.waiting + workers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 431 or 503; a body over its limits raises 408 or 413 where it is read."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif sum(len(name) + len(value) for name, value in scope["headers"]) > _HEADER_BYTES:
            await fault(431, f"the request's headers have more than {_HEADER_BYTES:,} bytes")(scope, receive, send)
        elif self._n_open >= self._max_open:
            await fault(503, "too many requests are waiting; try again in a few seconds")(scope, receive, send)
        else:
            self._n_open += 1
            try:
                await self._app(scope, _LimitedBody(receive, self._limits), send)
            finally:
                self._n_open -= 1


class _LimitedBody:
    """Receives the messages of one request, and raises an `HTTPException` once its body exceeds the limits."""

    def __init__(self, receive: Receive, limits: RequestLimits) -> None:
        self._receive, self._limits = receive, limits
        self._max_bytes = limits.megabytes << 20
        self._n_bytes, self._complete = 0, False
        self._deadline = asyncio.get_running_loop().time() + limits.seconds

    async def __call__(self) -> Message:
        if self._complete:  # the next message is the client's going, whenever that is
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._next()
                while self._max_bytes < self._n_bytes < _DRAIN_FACTOR * self._max_bytes and message.get("more_body"):
                    message = await self._next()
        except TimeoutError:
            raise HTTPException(408, f"the photo took more than {self._limits.seconds:g} s to arrive") from None
        if self._n_bytes > self._max_bytes:
            raise HTTPException(413, f"the photo has more than {self._limits.megabytes} MB")
        self._complete = message["type"] == "http.disconnect" or not message.get("more_body")
        return message

    async def _next(self) -> Message:
        message = await self._receive()
        self._n_bytes += len(message.get("body", b""))
        return message


class AddHeaders:
    """Adds the headers that every answer has, unless the answer sets them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                headers = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
                added = [header for header in headers if header[0] not in present]
                message["headers"] = [*message["headers"], *added]
            await send(message)

        await self._app(scope, receive, send_with_headers)
