"""What is made before a job runs: the sample of images and the model folder."""
