"""Claims of speed, each as a command that prints what backs it."""
