"""The application: router, errors and middleware put together, and the task that looks for new results."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI
from starlette.middleware.trustedhost import TrustedHostMiddleware

from lookup.log import write_line
from lookup.reloader import Reloader
from lookup.service.access_log import AccessLog
from lookup.service.errors import add_exception_handlers
from lookup.service.middleware import AddHeaders, LimitRequests, RequestLimits
from lookup.service.router import Backend, router
from lookup.service.static import static_router

_RELOAD_SECONDS = 2.0


def create_app(
    reloader: Reloader,
    limits: RequestLimits,
    hosts: list[str],
    workers: int,
    reload_seconds: float = _RELOAD_SECONDS,
) -> FastAPI:
    """Return the service.

    Parameters
    ----------
    reloader : Reloader
    limits : RequestLimits
    hosts : list of str
        Host names that requests may address, `*` for any. A page of another site whose name resolves to this machine is
        refused.
    workers : int
        Photos that are embedded at a time.
    reload_seconds : float
        Interval at which the service looks for new results.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        watching = asyncio.create_task(_watch(reloader, reload_seconds))
        yield
        watching.cancel()

    app = FastAPI(
        title="Name the photo",
        version="1",
        description="Names a photo by its nearest neighbors among the results of a run.",
        docs_url=None,  # its scripts would come from another site
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.backend = Backend(reloader, CapacityLimiter(workers))
    app.include_router(router)
    app.include_router(static_router())
    add_exception_handlers(app)
    # The last one added is the outermost.
    app.add_middleware(LimitRequests, limits=limits, workers=workers)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)
    app.add_middleware(AccessLog)
    app.add_middleware(AddHeaders)
    return app


async def _watch(reloader: Reloader, seconds: float) -> None:
    """Reload new results as runs commit them; the log names an error once, and the old results stay."""
    logged = None
    while True:
        await asyncio.sleep(seconds)
        try:
            run = await to_thread.run_sync(reloader.reload)
            if run:
                write_line(reloaded=run)
            logged = None
        except Exception as error:  # noqa: BLE001 - the old results stay, and the next round tries again
            if str(error) != logged:
                logged = str(error)
                write_line(fault=logged)
