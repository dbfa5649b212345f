"""Training of the shipped models: loop, tasks, checkpoints and metrics, usable without the command line."""
