"""Studies of the papers' models: `python bench/models/ltd_studies.py`."""
