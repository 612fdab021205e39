"""Names a photo from its nearest neighbours among the results of a run. No Spark."""
