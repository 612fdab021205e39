"""Names a photo by its nearest neighbors among the results of a run. No Spark."""
