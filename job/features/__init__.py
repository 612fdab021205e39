"""Pixels to feature vectors, and the table that keeps them."""
