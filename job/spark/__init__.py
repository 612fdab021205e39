"""The Spark session, and functions run as its tasks."""
