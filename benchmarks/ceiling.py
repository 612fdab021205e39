"""The bare ceiling: as many plain Python processes as cores, each reading, decoding and inferring its share.

Pillow and the same LiteRT model, batch 1, one thread; no framework, no checks, no limits, nothing written.
"""

import multiprocessing
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.harness import cores
from job.model import TFLITE


def ceiling(images: Path, model: Path) -> float:
    """Return the seconds from the moment all processes are ready until the last one is done."""
    count = cores()
    paths = sorted(images.rglob("*.jpg"))
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(count + 1)
    shares = [paths[number::count] for number in range(count)]
    workers = [context.Process(target=_work, args=(ready, share, model)) for share in shares]
    for worker in workers:
        worker.start()
    ready.wait()
    started = time.perf_counter()
    for worker in workers:
        worker.join()
    seconds = time.perf_counter() - started
    if any(worker.exitcode for worker in workers):
        raise RuntimeError("a process of the ceiling has failed")
    return seconds


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
