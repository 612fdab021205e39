"""Model folders for tests of what is read of them; their network cannot run."""

import hashlib
import json
from pathlib import Path
from typing import Any

from job.features.model import ModelDescription

NETWORK = b"not a network"


def write_model(path: Path, **changes: Any) -> Path:
    description = ModelDescription("MobileNetV2", 0.35, 224, 1280, "embedded", "a note", "0" * 64, "RGB", "")
    fields = description.to_json() | {"tflite_sha256": hashlib.sha256(NETWORK).hexdigest()} | changes
    path.mkdir()
    (path / "model.tflite").write_bytes(NETWORK)
    (path / "model.json").write_text(json.dumps({name: value for name, value in fields.items() if value is not ...}))
    return path
