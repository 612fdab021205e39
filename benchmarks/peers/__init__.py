"""Rivals of the job, each a process that prints one line of JSON: what it took and where its features are."""
