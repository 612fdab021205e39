"""Starting the job in the cloud: what is sent to AWS, and what comes of it."""
