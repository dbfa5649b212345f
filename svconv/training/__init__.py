"""Training of the shipped models: loops, checkpoints and metrics, usable without the command line."""
