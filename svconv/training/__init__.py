"""Training of the shipped models: loops, checkpoints and metrics, usable without the command line.

The loops are imported from their modules, so that the settings can be read without loading a model.
"""
