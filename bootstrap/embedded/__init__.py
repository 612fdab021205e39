"""The embedded model: a renderer of fruit, the recipe that trains on it, and its result."""
