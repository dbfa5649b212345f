"""pytest-benchmark suite of eff: `python -m pytest bench/test_bench_eff.py -k "conv and 1024"`."""
from bench.suite import test_peer, test_svconv  # noqa: F401
