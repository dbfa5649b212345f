"""pytest-benchmark suite of gaussian: `python -m pytest bench/test_bench_gaussian.py`."""
from bench.suite import test_peer, test_svconv  # noqa: F401
