"""The rejection of an image, and the closed list of its reasons."""

ZERO_BYTES = "zero bytes"
NOT_AN_IMAGE = "not an image"
TRUNCATED = "truncated"
DAMAGED = "damaged"
TOO_MANY_PIXELS = "too many pixels"
DECODER_CRASHED = "decoder crashed"
OVER_TIME = "over the time bound"
OVER_MEMORY = "over the memory bound"
GONE = "gone"
NOT_READABLE = "not readable"
NAME_NOT_UTF8 = "name not UTF-8"
REASONS = (
    ZERO_BYTES,
    NOT_AN_IMAGE,
    TRUNCATED,
    DAMAGED,
    TOO_MANY_PIXELS,
    DECODER_CRASHED,
    OVER_TIME,
    OVER_MEMORY,
    GONE,
    NOT_READABLE,
    NAME_NOT_UTF8,
)
# Storage's answers, which may be others next time: an image that the listing sees is read again by each run.
OF_STORAGE = (GONE, NOT_READABLE)


class Rejected(Exception):  # noqa: N818 - an answer, not a fault
    """An image that cannot be used: `reason` from `REASONS`, `error` in free text."""

    def __init__(self, reason: str, error: str) -> None:
        super().__init__(f"{reason}: {error}")
        self.reason = reason
        self.error = error
