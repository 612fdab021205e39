"""The bare ceiling: as many plain Python processes as cores, each reading, decoding and inferring its share.

Pillow and the same LiteRT model, batch 1, one thread; no framework, no checks, no limits, nothing written.
"""

from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.harness import cores, run_together
from job.features.model import TFLITE


def ceiling(images: Path, model: Path) -> float:
    """Return the seconds from the moment all processes are ready until the last one is done."""
    paths = sorted(images.rglob("*.jpg"))
    return run_together(_work, [(paths[number :: cores()], model) for number in range(cores())])


def _work(ready: Barrier, paths: list[Path], model: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 - in the child only

    network = Interpreter(model_path=str(model / TFLITE), num_threads=1)
    network.allocate_tensors()
    source, target = network.get_input_details()[0], network.get_output_details()[0]["index"]
    side = int(source["shape"][1])
    ready.wait()
    for path in paths:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC), np.float32)
        network.set_tensor(source["index"], pixels[None] / np.float32(127.5) - np.float32(1))
        network.invoke()
        network.get_tensor(target)
