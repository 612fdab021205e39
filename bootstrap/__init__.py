"""What is made before a job runs: the sample of pictures and the model folder."""
