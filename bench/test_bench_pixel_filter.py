"""pytest-benchmark suite of pixel_filter: `python -m pytest bench/test_bench_pixel_filter.py -k "gram and 256"`."""
from bench.suite import test_peer, test_svconv  # noqa: F401
