"""An application in, a server on a socket out: uvicorn, with our log and our signals."""

import logging
import signal
import socket

import uvicorn
from fastapi import FastAPI

from job.errors import JobError
from lookup.log import JsonHandler

_CONNECTIONS = 512


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; raises `JobError` where host and port are not available."""
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
    """Serve until SIGINT or SIGTERM, then answer the requests that have arrived."""
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, lambda *_: None)  # uvicorn stops, and raises the signal again at its end
    logging.getLogger().addHandler(JsonHandler())  # warnings of libraries
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
