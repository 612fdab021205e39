"""The Spark job: pictures in, feature vectors and principal components out. Importing the package loads nothing."""
