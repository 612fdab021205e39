"""The JSON that the service answers with; the names of these classes and their fields are part of `/openapi.json`."""

from pydantic import BaseModel, Field


class NeighbourModel(BaseModel):
    """A known image near the photo."""

    path: str
    label: str | None
    similarity: float = Field(description="cosine in the space that is learned from the labels, -1 to 1")
    thumbnail: str = Field(description="address of a small JPEG of it")


class AnswerModel(BaseModel):
    """The label of a photo."""

    path: str = Field(description="the file name that the photo was sent with")
    label: str | None = Field(description="null if no image like it is known")
    confidence: float = Field(description="probability that the label is right, 0 to 1; 0 without a label")
    neighbours: list[NeighbourModel] = Field(description="the nearest first")
    run: str = Field(description="the run whose results the answer comes from")


class FaultModel(BaseModel):
    """The reason why there is no answer."""

    error: str


class HealthModel(BaseModel):
    """The results that the service answers from."""

    status: str
    run: str
    pictures: int
    labels: int
    model: str
