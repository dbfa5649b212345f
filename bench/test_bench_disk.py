"""pytest-benchmark suite of disk: `python -m pytest bench/test_bench_disk.py -k forward`."""
from bench.suite import test_peer, test_svconv  # noqa: F401
