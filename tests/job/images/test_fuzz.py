"""A small count of the fuzzer; thousands of cases: python -m tests.fuzz --cases 3000 --seed 0."""

import base64
import io
import os
import signal
from itertools import islice

import numpy as np
import pytest
from PIL import Image

from job.images.decode import DecodedImage, decode
from job.images.rejection import REASONS, Rejected
from job.images.sandbox import Decoder
from tests import fuzz
from tests.job.images.test_decode import HEIC


def test_broken_images_neither_crash_nor_hang_and_end_as_pillow_itself_finds_them() -> None:
    outcomes, wrong = fuzz.fuzz(250, seed=7, heic=base64.b64decode(HEIC))
    assert wrong == []
    assert outcomes.total() == 250
    # Cases that are all alike would prove little.
    assert outcomes["ok"] >= 25
    assert {"damaged", "truncated", "not an image"} <= set(outcomes) <= {"ok", *REASONS}


def test_the_files_that_are_broken_can_be_read_before() -> None:
    for name, data in fuzz.seeds(base64.b64decode(HEIC)).items():
        if name in {"broken.png", "broken_data_stream.png", "truncated_jpeg.jpg"}:
            with pytest.raises(Rejected):
                decode(data, 8)
        else:
            assert decode(data, 8).pixels.shape == (8, 8, 3), name


def test_a_seed_names_its_cases() -> None:
    files = fuzz.seeds()
    first, again, other = (list(islice(fuzz.cases(files, seed), 40)) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_a_decoder_that_crashes_or_disagrees_would_be_found() -> None:
    file = io.BytesIO()
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(file, "PNG")

    class Lying(Decoder):
        answer: str = ""

        def decode(self, data: bytes) -> DecodedImage:
            raise Rejected(self.answer, "because")

    lying = Lying(fuzz.OPTIONS[0], isolated=False)
    for answer, fault in (
        ("decoder crashed", "decoder crashed"),
        ("over the time bound", "over the time bound"),
        ("damaged", "damaged, and Pillow says otherwise"),
        ("bad luck", "unknown: bad luck: because"),
    ):
        lying.answer = answer
        assert fuzz.judge([lying, lying], file.getvalue())[1] == fault
    with Decoder(fuzz.OPTIONS[0], isolated=False) as honest:
        assert fuzz.judge([honest, honest], file.getvalue()) == ("ok", None)
        assert fuzz.judge([honest, lying], file.getvalue())[1] is not None
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0), os.getpid()
