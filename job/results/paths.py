"""The paths of one reduction: where it writes its basis, its results, their index and its rejected images."""

import secrets
from dataclasses import dataclass

from job import storage
from job.features.layout import work_folder
from job.pca.basis_file import BASIS
from job.results.generations import rows_folder


@dataclass(frozen=True)
class ReductionPaths:
    """The paths of one reduction.

    Attributes
    ----------
    output : str
        The `--output` of the run.
    run : str
        Name of the reduction.
    featurize_run : str
        Name of the run that made the features.
    """

    output: str
    run: str
    featurize_run: str

    @classmethod
    def of_new_reduction(cls, output: str, featurize_run: str) -> "ReductionPaths":
        """Return paths that no other reduction has, even one of the same features."""
        return cls(output, f"{featurize_run}-{secrets.token_hex(2)}", featurize_run)

    @property
    def basis(self) -> str:
        """Return the address of the basis."""
        return storage.join(self.output, "pca_model", f"run={self.run}", BASIS)

    @property
    def index(self) -> str:
        """Return the address of the index."""
        return storage.join(self.output, "neighbours", f"run={self.run}")

    @property
    def label_counts(self) -> str:
        """Return the address of the table of labels, where they are too many for `run.json`."""
        return storage.join(self.output, "label_counts", f"run={self.run}")

    @property
    def scratch(self) -> str:
        """Return the address of a folder for what tasks hand on, which does not outlive the reduction."""
        return storage.join(work_folder(self.output, self.featurize_run), f"reduction-{self.run}")

    def results_part(self, number: int) -> str:
        """Return the address of a part of the results."""
        return storage.join(rows_folder(self.output, self.run), f"part-{number:05d}.parquet")
