"""pytest-benchmark suite of SVMAP: `python -m pytest bench/test_bench_svmap.py -k step`."""
from bench.suite import test_peer, test_svconv  # noqa: F401
