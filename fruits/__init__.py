"""The public Python API. Everything else is internal and may change with any version.

>>> from fruits import Settings, featurize, read_results, reduce
>>> settings = Settings(images="photos", model="model", output="results", components=50)
>>> featurize(spark, settings)                  # doctest: +SKIP
>>> reduce(spark, settings).components          # doctest: +SKIP
50
>>> read_results("results").to_pandas()         # doctest: +SKIP
"""

from job import __version__
from job.errors import JobError, RunError
from job.features.table import read_features
from job.results.tables import read_results
from job.settings import Settings
from job.stages.featurize import featurize
from job.stages.reduce import reduce

__all__ = [
    "JobError",
    "RunError",
    "Settings",
    "__version__",
    "featurize",
    "read_features",
    "read_results",
    "reduce",
]
