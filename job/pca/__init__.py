"""The mathematics of principal components, and the moments of a features table."""
