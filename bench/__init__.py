"""Benchmarks: `python bench/cpu.py`, `python bench/gpu.py`, `python bench/report.py`."""
