"""Exceptions in, answers with a status and one sentence out: one table for all of them."""

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from job.images.rejection import Rejected

MISSING_PHOTO = "send one photo as multipart/form-data, in a field called image"
PHOTO_FIELDS = ("image", "picture")


def fault(status: int, text: str) -> JSONResponse:
    """Return an answer that says what is wrong."""
    return JSONResponse({"error": text}, status)


def _invalid(error: RequestValidationError) -> str:
    first = error.errors()[0]
    source, field = first["loc"][0], first["loc"][-1]
    if source == "body" and first["loc"][1] in PHOTO_FIELDS:
        return MISSING_PHOTO
    return f"{field}: {first['msg']}"


# Status and sentence for each kind of exception.
FAULTS: Mapping[type[Exception], Callable[[Any], tuple[int, str]]] = {
    HTTPException: lambda error: (error.status_code, str(error.detail)),
    RequestValidationError: lambda error: (422, _invalid(error)),
    Rejected: lambda error: (422, f"the photo cannot be used: {error}"),
}


def add_exception_handlers(app: FastAPI) -> None:
    """Make an application answer the exceptions of the table."""
    for kind, describe in FAULTS.items():
        app.add_exception_handler(kind, _handler(describe))


def _handler(describe: Callable[[Any], tuple[int, str]]) -> Callable[[Request, Exception], JSONResponse]:
    def handle(_: Request, error: Exception) -> JSONResponse:
        return fault(*describe(error))

    return handle
