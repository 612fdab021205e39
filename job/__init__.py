"""From a bucket of images to feature vectors and their principal components, as a Spark job."""

__version__ = "0.1.0"
