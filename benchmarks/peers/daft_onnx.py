"""Daft with ONNX Runtime: a class loaded once in each of as many processes as cores, its features written by Daft."""

import os
from pathlib import Path

import daft  # type: ignore[import-not-found]
import pyarrow as pa

from benchmarks.peers import common


class Features:
    """A model that Daft keeps in a process of its own."""

    def __init__(self, model: str) -> None:
        self._network = common.Onnx(model)

    def of(self, files: "daft.Series") -> pa.Array:
        """Return the features of images."""
        return common.lists(self._network.features(files.to_pylist()))


def main() -> None:
    """Run the command."""
    options = common.parse_options(__doc__, batch=64)
    cores = len(os.sched_getaffinity(0))
    vectors = daft.DataType.list(daft.DataType.float32())
    batched = daft.method.batch(Features.of, return_dtype=vectors, batch_size=options.batch)
    Features.of = batched  # type: ignore[method-assign]
    network = daft.cls(Features, use_process=True, max_concurrency=cores)(str(options.model))

    def run(images: Path, output: Path) -> None:
        path = daft.col("path")
        table = daft.from_glob_path(f"{images}/**/*.jpg")
        table = table.select(
            path,
            path.split("/")[-2].alias("label"),
            network.of(path.download()).alias("features"),
        )
        table.write_parquet(str(output))

    common.measure(options, run)


if __name__ == "__main__":
    main()
