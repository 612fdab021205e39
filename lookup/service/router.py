"""The endpoints: `/classify`, `/thumbnail/{run}/{picture}`, `/health`; their names are part of `/openapi.json`."""

from dataclasses import dataclass, field
from typing import Annotated, Any

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Depends, File, Path, Query, Request, Response, UploadFile
from starlette.exceptions import HTTPException

from lookup.classifier import Prediction
from lookup.reloader import Reloader
from lookup.service.errors import MISSING_PHOTO
from lookup.service.schemas import AnswerModel, FaultModel, HealthModel, NeighbourModel

MAX_NEIGHBORS = 50
_THUMBNAIL_THREADS = 4
_FAULTS: dict[int | str, dict[str, Any]] = {
    status: {"model": FaultModel, "description": text}
    for status, text in (
        (408, "the photo took too long to arrive"),
        (413, "the photo has too many bytes"),
        (422, "no photo, or one that cannot be used"),
        (503, "too many requests are waiting"),
    )
}

router = APIRouter()


@dataclass(frozen=True)
class Backend:
    """The reloader, called from threads: `workers` photos and a few thumbnails at a time."""

    reloader: Reloader
    workers: CapacityLimiter
    thumbnail_threads: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(_THUMBNAIL_THREADS))

    async def classify(self, data: bytes, count: int) -> tuple[str, Prediction]:
        """Return the run and the prediction of a photo."""
        return await to_thread.run_sync(self.reloader.classify, data, count, limiter=self.workers)

    async def thumbnail(self, run: str, row: int) -> bytes | None:
        """Return the thumbnail of an image."""
        return await to_thread.run_sync(self.reloader.thumbnail, run, row, limiter=self.thumbnail_threads)


def _backend(request: Request) -> Backend:
    backend: Backend = request.app.state.backend
    return backend


CurrentBackend = Annotated[Backend, Depends(_backend)]


@router.post("/classify", responses=_FAULTS)
async def classify(
    request: Request,
    backend: CurrentBackend,
    image: Annotated[UploadFile | None, File(description="a photo in any format that the job reads")] = None,
    picture: Annotated[UploadFile | None, File(deprecated=True, description="the former name of image")] = None,
    k: Annotated[int, Query(ge=1, le=MAX_NEIGHBORS, description="number of neighbors to return")] = 5,
) -> AnswerModel:
    """Name a photo: its label, the probability that it is right, and the nearest known images."""
    photo = image or picture
    if photo is None:
        raise HTTPException(422, MISSING_PHOTO)
    run, prediction = await backend.classify(await photo.read(), k)
    request.state.label = prediction.label
    return AnswerModel(
        path=(photo.filename or "").encode(errors="replace").decode(),
        label=prediction.label,
        confidence=round(prediction.confidence, 4),
        neighbours=[
            NeighbourModel(**neighbor.to_json(), thumbnail=f"thumbnail/{run}/{neighbor.row}")
            for neighbor in prediction.neighbors
        ],
        run=run,
    )


@router.get("/thumbnail/{run}/{picture}", response_class=Response, responses={404: {"model": FaultModel}})
async def thumbnail(backend: CurrentBackend, run: str, row: Annotated[int, Path(alias="picture")]) -> Response:
    """Return a small JPEG of a known image."""
    data = await backend.thumbnail(run, row)
    if data is None:
        raise HTTPException(404, "no such image; it may be gone, or of an earlier run")
    return Response(data, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})


@router.get("/health")
async def health(backend: CurrentBackend) -> HealthModel:
    """Return the results that the service answers from."""
    return HealthModel(status="ok", **backend.reloader.health())
