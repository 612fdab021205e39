"""Everything that is made before a job runs: the sample, the model folder, and the products that the cloud runs."""
