"""The HTTP service: a picture in, its name out as JSON, and the page that asks for it."""

import asyncio
import logging
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import resources
from typing import Annotated, Any

import uvicorn
from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, File, Query, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from job.errors import JobError
from job.images.decode import Rejected
from lookup.log import handler, tell
from lookup.reloader import Desk

MOST_NEIGHBOURS = 50
# Of a body that is too large so much more is read and thrown away, so that the client reads the answer.
_DRAINED = 8
_HEADER_BYTES = 16_384
_CONNECTIONS = 512
_FIELD = "send one picture as multipart/form-data, in a field called picture"
_PAGE = {"page.html": "text/html; charset=utf-8", "page.css": "text/css", "page.js": "text/javascript"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; connect-src 'self'; img-src 'self' blob: data:; style-src 'self';"
    " script-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Door:
    """What the service lets in.

    Attributes
    ----------
    megabytes : int
        Of a request's body.
    seconds : float
        Time that a body may take to arrive.
    waiting : int
        Requests that may wait for their turn; beyond that the answer is 503.
    reload_seconds : float
        How often is looked whether there are new results.
    """

    megabytes: int = 20
    seconds: float = 30.0
    waiting: int = 64
    reload_seconds: float = 2.0


class NeighbourModel(BaseModel):
    """A picture near the one that was asked about."""

    path: str
    label: str | None
    similarity: float = Field(description="cosine in the space that is learned from the labels, -1 to 1")
    thumbnail: str = Field(description="where a small JPEG of it can be had")


class AnswerModel(BaseModel):
    """What a picture shows."""

    path: str = Field(description="the name that the picture was sent under")
    label: str | None = Field(description="null where nothing like it is known")
    confidence: float = Field(description="how likely the label is right, 0 to 1; 0 without a label")
    neighbours: list[NeighbourModel] = Field(description="the nearest first")
    run: str = Field(description="the run whose results were asked")


class FaultModel(BaseModel):
    """Why there is no answer."""

    error: str


class HealthModel(BaseModel):
    """What the service answers from."""

    status: str
    run: str
    pictures: int
    labels: int
    model: str


def create_app(desk: Desk, door: Door, hosts: list[str], workers: int) -> FastAPI:
    """Return the service.

    Parameters
    ----------
    desk : Desk
        What answers.
    door : Door
        What is let in.
    hosts : list of str
        Names that the service may be called by, `*` for any: a page of another site that has its own name point here
        gets nothing.
    workers : int
        Pictures that are worked on at a time.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        watching = asyncio.create_task(_watch(desk, door.reload_seconds))
        yield
        watching.cancel()

    app = FastAPI(
        title="Name the picture",
        version="1",
        description="Names a picture from its nearest neighbours among the results of a run.",
        docs_url=None,  # it would be fetched from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    turns, thumbnails = CapacityLimiter(workers), CapacityLimiter(4)
    faults: dict[int | str, dict[str, Any]] = {
        status: {"model": FaultModel, "description": text}
        for status, text in (
            (408, "the picture took too long to arrive"),
            (413, "the picture has too many bytes"),
            (422, "no picture, or one that cannot be used"),
            (503, "too many requests are waiting"),
        )
    }

    @app.post("/classify", responses=faults)
    async def classify(
        request: Request,
        picture: Annotated[UploadFile, File(description="an image of any format that the job reads")],
        k: Annotated[int, Query(ge=1, le=MOST_NEIGHBOURS, description="neighbours to name")] = 5,
    ) -> AnswerModel:
        """Say what a picture shows, how likely that is right, and which known pictures are nearest."""
        data = await picture.read()
        run, answer = await to_thread.run_sync(desk.answer, data, k, limiter=turns)
        request.state.label = answer.label
        neighbours = [
            NeighbourModel(**one.as_dict(), thumbnail=f"thumbnail/{run}/{one.picture}") for one in answer.neighbours
        ]
        return AnswerModel(
            path=(picture.filename or "").encode(errors="replace").decode(),
            label=answer.label,
            confidence=round(answer.confidence, 4),
            neighbours=neighbours,
            run=run,
        )

    @app.get("/thumbnail/{run}/{picture}", response_class=Response, responses={404: {"model": FaultModel}})
    async def thumbnail(run: str, picture: int) -> Response:
        """Return a small JPEG of a known picture."""
        found = await to_thread.run_sync(desk.thumbnail, run, picture, limiter=thumbnails)
        if found is None:
            raise HTTPException(404, "no such picture; it may be gone, or of an earlier run")
        return Response(found, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})

    @app.get("/health")
    async def health() -> HealthModel:
        """Say what the service answers from."""
        return HealthModel(status="ok", **desk.about())

    for name, kind in _PAGE.items():
        content = resources.files("lookup").joinpath("page", name).read_bytes()
        path = "/" if name == "page.html" else f"/{name}"
        app.add_api_route(path, _static(content, kind), methods=["GET"], include_in_schema=False)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        where = error.errors()[0]
        if where["loc"][-1] == "picture" and where["loc"][0] == "body":
            return _fault(422, _FIELD)
        return _fault(422, f"{where['loc'][-1]}: {where['msg']}")

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return _fault(error.status_code, str(error.detail))

    @app.exception_handler(Rejected)
    async def rejected(_: Request, error: Exception) -> JSONResponse:
        return _fault(422, f"the picture cannot be used: {error}")

    app.add_middleware(_Limited, door=door, most=door.waiting + workers)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)
    app.add_middleware(_Logged)
    return app


def _static(content: bytes, kind: str) -> Any:
    async def answer() -> Response:
        return Response(content, media_type=kind)

    return answer


def _fault(status: int, text: str) -> JSONResponse:
    return JSONResponse({"error": text}, status)


class _Limited:
    """Bounds the bytes of a body, the time that it takes to arrive, and how many requests are in the house."""

    def __init__(self, app: ASGIApp, door: Door, most: int) -> None:
        self._app, self._most, self._seconds = app, door.megabytes << 20, door.seconds
        self._open, self._most_open = 0, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if sum(len(name) + len(value) for name, value in scope["headers"]) > _HEADER_BYTES:
            await _fault(431, f"the request's headers have more than {_HEADER_BYTES:,} bytes")(scope, receive, send)
            return
        if self._open >= self._most_open:
            await _fault(503, "too many requests are waiting; try again in a few seconds")(scope, receive, send)
            return
        arrived, end, complete = 0, asyncio.get_running_loop().time() + self._seconds, False

        async def bounded() -> Message:
            nonlocal arrived, complete
            if complete:  # what comes now is that the client goes, whenever it does
                return await receive()
            try:
                async with asyncio.timeout_at(end):
                    message = await receive()
                    arrived += len(message.get("body", b""))
                    while arrived > self._most and message.get("more_body") and arrived < _DRAINED * self._most:
                        message = await receive()
                        arrived += len(message.get("body", b""))
            except TimeoutError:
                raise HTTPException(408, f"the picture took more than {self._seconds:g} s to arrive") from None
            if arrived > self._most:
                raise HTTPException(413, f"the picture has more than {self._most >> 20} MB")
            complete = message["type"] == "http.disconnect" or not message.get("more_body")
            return message

        self._open += 1
        try:
            await self._app(scope, bounded, send)
        finally:
            self._open -= 1


class _Logged:
    """Writes one line of JSON for each request to standard error, and puts the headers that every answer has."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.monotonic(), 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                known = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *((name.lower().encode(), value.encode()) for name, value in _HEADERS.items()
                      if name.lower().encode() not in known),
                ]  # fmt: skip
            await send(message)

        fault = None
        try:
            await self._app(scope, receive, noted)
        except Exception as error:  # noqa: BLE001 - the client got a 500, or is gone: the log says so in one line
            fault = f"{type(error).__name__}: {error}"
            if not status:
                await _fault(500, "the service has failed; its log says how")(scope, receive, noted)
        line: dict[str, Any] = {
            "method": scope["method"],
            "path": scope["path"],
            "status": status or None,
            "ms": round(1000 * (time.monotonic() - started), 1),
        }
        label = scope.get("state", {}).get("label")
        tell(**line, **({"label": label} if label else {}), **({"fault": fault} if fault else {}))


async def _watch(desk: Desk, seconds: float) -> None:
    """Take up new results as they are committed; what cannot be read is told once, and the old ones stay."""
    told = None
    while True:
        await asyncio.sleep(seconds)
        try:
            run = await to_thread.run_sync(desk.reload)
            if run:
                tell(reloaded=run)
            told = None
        except Exception as error:  # noqa: BLE001 - the old results are served on, and it is tried again
            if str(error) != told:
                told = str(error)
                tell(fault=told)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; raises `JobError` where host and port cannot be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen()
    except (OSError, UnicodeError) as error:
        words = getattr(error, "strerror", None) or error
        raise JobError(f"cannot listen on {host} port {port}: {words}; choose another --port") from None
    return listening


def serve(app: FastAPI, listening: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM; requests that are being answered are answered first."""
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, lambda *_: None)  # uvicorn stops, and raises the signal again when it has
    logging.getLogger().addHandler(handler())  # whatever a library warns of
    config = uvicorn.Config(
        app,
        log_config=None,
        limit_concurrency=_CONNECTIONS,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=30,
        timeout_keep_alive=30,
    )
    uvicorn.Server(config).run(sockets=[listening])
