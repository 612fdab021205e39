"""Ray Data with ONNX Runtime: a pool of as many actors as cores, the features written by Ray Data."""

import os
from pathlib import Path

import pyarrow as pa
import ray  # type: ignore[import-not-found]

from benchmarks.peers import common


class Features:
    """A model that Ray keeps in an actor."""

    def __init__(self, model: str) -> None:
        self._network = common.Onnx(model)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Return path, label and features of images."""
        paths = batch["path"].to_pylist()
        features = common.lists(self._network.features(batch["bytes"].to_pylist()))
        return pa.table({"path": paths, "label": [common.label(path) for path in paths], "features": features})


def main() -> None:
    """Run the command."""
    options = common.parse_options(__doc__, batch=64)
    cores = len(os.sched_getaffinity(0))
    # The actors hold a CPU each; what reads and writes beside them needs one as well, in Ray's books.
    ray.init(num_cpus=cores + 1, include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False

    def run(images: Path, output: Path) -> None:
        files = ray.data.read_binary_files(str(images), include_paths=True, file_extensions=["jpg"])
        made = files.map_batches(
            Features,
            fn_constructor_args=(str(options.model),),
            batch_size=options.batch,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=cores),
        )
        made.write_parquet(str(output))

    common.measure(options, run)


if __name__ == "__main__":
    main()
