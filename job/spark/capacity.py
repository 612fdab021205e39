"""What a session can do: how many tasks at once, and whether it repeats one that has failed."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def parallelism(spark: "SparkSession") -> int:
    """Return how many tasks the session can run at once, with the executors that it may still ask for."""
    conf = spark.sparkContext.getConf()
    now = spark.sparkContext.defaultParallelism
    executors = conf.get("spark.dynamicAllocation.maxExecutors")
    cores = conf.get("spark.executor.cores")
    if conf.get("spark.dynamicAllocation.enabled", "false") == "true" and executors and cores:
        return max(now, int(executors) * int(cores))
    return now


def retries(spark: "SparkSession") -> bool:
    """Return whether the session repeats a task that has failed: `local[*]` does not, `local[*,4]` does."""
    master = str(spark.sparkContext.master)
    if re.fullmatch(r"local(\[[^,\]]*\])?", master):
        return False
    attempts = re.fullmatch(r"local\[[^,\]]*,\s*(\d+)\s*\]", master)
    return int(attempts[1] if attempts else spark.sparkContext.getConf().get("spark.task.maxFailures", "4") or 4) > 1
