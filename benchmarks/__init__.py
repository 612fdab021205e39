"""Claims of speed and quality, each as a command that prints the figures behind it."""
