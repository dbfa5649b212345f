"""pytest-benchmark suite of quotient: `python -m pytest bench/test_bench_quotient.py -k "kernel and 1024"`."""
from bench.suite import test_peer, test_svconv  # noqa: F401
