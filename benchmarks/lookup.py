"""How soon lookup answers: python -m benchmarks.lookup [--images 100000 1000000].

Whole commands on an index of random components, as `run` writes it: from the start of Python to the answer. The first
`classify`, which fits and saves the calibration, is timed apart. Then the service: one photo at a time over HTTP,
beside decoding and inferring it alone.
"""

import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks import inputs
from benchmarks.harness import bench, parser, timed
from bootstrap.model import EMBEDDED_FOLDER
from job import storage
from job.features.extractor import FeatureExtractor
from job.features.model import decode_options, fingerprint, model_summary, read_model
from job.features.silenced import silenced
from job.features.snapshot import Counts
from job.images.color_histogram import COLOR_BINS
from job.images.decode import decode
from job.pca.basis import Basis
from job.results.coordinates import color_coordinates
from job.results.index import IndexDescription, IndexPart, index_schema, write_description, write_part
from job.results.run_record import ResultFolders, RunRecord, write_run
from job.settings import Settings

K, D, LABELS, PART = 50, 1280, 100, 200_000


def write_results(output: Path, n_images: int) -> None:
    """Write the results of a made-up run, as far as lookup reads them."""
    model = read_model(str(EMBEDDED_FOLDER))
    settings = Settings(images="x", model="x", output=str(output))
    rng = np.random.default_rng(0)
    directions = np.linalg.qr(rng.normal(size=(D, K)))[0].T
    variances = 1.0 / np.arange(1, K + 1)
    total_variance = float(variances.sum())
    basis = Basis(np.zeros(D), directions, variances, total_variance, n_images, fingerprint(model, settings), {})
    record = RunRecord(
        run="x",
        results=ResultFolders.of_run("x"),
        settings=settings,
        model=model_summary(model),
        fingerprint=basis.fingerprint,
        counts=Counts(listed=n_images, reused=0, new=n_images, ok=n_images, rejected=0),
        labels={},
        seconds={},
        images_per_second=0.0,
        components=K,
        explained_variance_ratio=tuple(basis.explained_variance_ratio.tolist()),
        pca_fitted_to=n_images,
        versions={},
        validation={},
    )
    shutil.copytree(EMBEDDED_FOLDER, output / "model", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    storage.write(record.basis_address(str(output)), basis.to_bytes())
    write_index(record.index_folder(str(output)), basis, n_images, rng)
    write_run(str(output), record)


def write_index(folder: str, basis: Basis, n_images: int, rng: np.random.Generator) -> None:
    """Write an index of random components around the centers of labels, and random colors."""
    spread = np.sqrt(basis.explained_variance)
    centers = rng.normal(size=(LABELS, K)) * spread
    names, schema = [f"label {code:03d}" for code in range(LABELS)], index_schema(K)
    parts: list[IndexPart] = []
    for start in range(0, n_images, PART):
        count = min(PART, n_images - start)
        labels = rng.integers(0, LABELS, count)
        components = centers[labels] + rng.normal(size=(count, K)) * spread / 2
        colors = rng.dirichlet(np.full(COLOR_BINS, 0.1), count)
        coordinates = np.hstack([components, color_coordinates(basis, colors)]).astype(np.float32)
        columns = [
            pa.array([f"s3://images/{row // 1000:06d}/{row:09d}.jpg" for row in range(start, start + count)]),
            pa.DictionaryArray.from_arrays(pa.array(labels, pa.int32()), names),
            pa.array(rng.random(count, np.float32)),
            pa.FixedSizeListArray.from_arrays(coordinates.ravel(), type=schema.field("coordinates").type),
        ]
        address = storage.join(folder, f"part-{len(parts):05d}.arrow")
        parts.append(write_part(address, pa.table(columns, schema=schema)))
    digest = sha256(basis.to_bytes()).hexdigest()
    write_description(folder, IndexDescription("x", basis.fingerprint, digest, n_images, K, tuple(parts)))


def command(*arguments: str) -> None:
    """Run a command of lookup and wait for its end."""
    subprocess.run([sys.executable, "-m", "lookup", *arguments], check=True, capture_output=True)  # noqa: S603 - our own


def service_latency(output: Path, photo: Path, times: int) -> float:
    """Return the median of the seconds that a photo takes over HTTP, one at a time."""
    arguments = [sys.executable, "-m", "lookup", "serve", "--output", str(output), "--port", "0"]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own
        assert process.stderr is not None
        port = next(
            found[1] for line in process.stderr if (found := re.search(r"serving http://127.0.0.1:(\d+)", line))
        )
        body = b'--x\r\nContent-Disposition: form-data; name="image"; filename="x.jpg"\r\n\r\n'
        body += photo.read_bytes() + b"\r\n--x--\r\n"
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/classify", body, {"Content-Type": "multipart/form-data; boundary=x"}
        )

        def ask() -> None:
            with urllib.request.urlopen(request) as answer:  # noqa: S310 - our own server
                answer.read()

        seconds = [timed(ask) for _ in range(times)]
        process.terminate()
        process.stderr.read()
    return statistics.median(seconds[times // 10 :])


def bare_latency(photo: Path, times: int) -> float:
    """Return the median of the seconds that decoding and inferring a photo take."""
    model = read_model(str(EMBEDDED_FOLDER))
    with silenced():
        extractor = FeatureExtractor(model)
    decoding, data, seconds = decode_options(model, Settings()), photo.read_bytes(), []
    for _ in range(times):
        started = time.perf_counter()
        extractor.extract(decode(data, decoding.input_size).pixels)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[times // 10 :])


def main() -> None:
    """Run the command."""
    command_line = parser("lookup", __doc__)
    command_line.add_argument(
        "--images", type=int, nargs="+", default=[100_000, 1_000_000], help="sizes of the index (default: %(default)s)"
    )
    options = command_line.parse_args()
    photo = next(inputs.images(200).rglob("*.jpg"))
    with bench("lookup", options) as findings, tempfile.TemporaryDirectory() as folder:
        for count in options.images:
            output = Path(folder, f"{count}")
            write_results(output, count)
            arguments = (str(photo), "--output", str(output))
            first = timed(partial(command, "classify", *arguments))
            commands = {name: partial(timed, partial(command, name, *arguments)) for name in ("search", "classify")}
            medians = findings.compare(f"whole commands on {count:,} images", commands, options.rounds)
            bound = 2 if count <= 100_000 else 10
            findings.claim(f"{count:,} images: search", medians["search"], "s", at_most=bound)
            findings.claim(f"{count:,} images: classify", medians["classify"], "s", at_most=bound)
            findings.claim(f"{count:,} images: the first classify", first, "s", at_most=bound)
        output = Path(folder, "served")
        write_results(output, 1_000)
        served, bare = service_latency(output, photo, 300), bare_latency(photo, 300)
        findings.say(f"  the service {1e3 * served:.1f} ms, decoding and inference alone {1e3 * bare:.1f} ms")
        findings.claim("the service's latency against decoding and inference", served / bare, at_most=4)


if __name__ == "__main__":
    main()
