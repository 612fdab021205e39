"""The submitter: starts runs of the job in the cloud, follows them, and shows their cost and results."""
