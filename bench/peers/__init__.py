"""What people write today instead of svconv: the baselines of the benchmark, one file per op family.

Each function computes exactly what the svconv op computes; the benchmark compares the results before it times them.
"""
import os

os.environ.setdefault("CUPY_PYLOPS", "0")       # PyLops does not import beside a CuPy that lacks CUDA's libraries
