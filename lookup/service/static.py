"""The files of the service's page."""

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Response

from lookup.page import page_file

_FILES = {"page.html": "text/html; charset=utf-8", "page.css": "text/css", "page.js": "text/javascript"}


def static_router() -> APIRouter:
    """Return the routes of the page: `/`, `/page.css`, `/page.js`."""
    router = APIRouter(include_in_schema=False)
    for name, media_type in _FILES.items():
        path = "/" if name == "page.html" else f"/{name}"
        router.add_api_route(path, _endpoint(page_file(name), media_type), methods=["GET"])
    return router


def _endpoint(content: str, media_type: str) -> Callable[[], Awaitable[Response]]:
    async def endpoint() -> Response:
        return Response(content, media_type=media_type)

    return endpoint
