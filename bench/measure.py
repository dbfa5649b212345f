"""Interleaved timing, memory bandwidth, peak memory, machine description and result files."""
import ctypes
import gc
import json
import math
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import time

import torch

from bench import pages

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
MIB = 1 << 20
THREAD_LIMITS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


class Skip(Exception):
    """A candidate that is not measured; the text is the reason that the table prints."""


# timing -------------------------------------------------------------------------------------------------------------

class CPUStopwatch:
    """Seconds of one call; the result is released outside of the timed region."""

    def __call__(self, call):
        start = time.perf_counter()
        result = call()
        seconds = time.perf_counter() - start
        del result
        return seconds


class CUDAStopwatch:
    """Seconds that the device works for one call, between two events, with an L2 cache that holds nothing of the inputs.

    The cache is written over and then read over, so that what was written does not have to leave it inside of the timed region. Before
    the first event the device sleeps for `hold` seconds, in which the host runs ahead: small calls would otherwise measure Python.
    """
    SHORTEST, LONGEST = 1e-3, 3e-3

    def __init__(self):
        cache = getattr(torch.cuda.get_device_properties(0), "L2_cache_size", 0) or 64 * MIB
        self.scratch = torch.empty(4 * cache, dtype=torch.uint8, device="cuda")
        self.other = torch.zeros(cache, dtype=torch.float32, device="cuda")
        self.hold, self.cycles = 2e-3, None
        self.cycles = self._cycles_per_second()

    def _cycles_per_second(self, cycles=4_000_000):
        torch.cuda._sleep(10 * cycles)      # idle clocks are low
        return cycles / self._between_events(lambda: torch.cuda._sleep(cycles))

    def _between_events(self, call):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        result = call()
        end.record()
        end.synchronize()
        del result
        return start.elapsed_time(end) * 1e-3

    def expect(self, host):
        """Sleeps as long as a call needs on the host (seconds), between one and three milliseconds."""
        self.hold = min(max(1.5 * host, self.SHORTEST), self.LONGEST)

    def __call__(self, call):
        self.scratch.zero_()
        self.other.sum()
        torch.cuda._sleep(int(self.hold * self.cycles))
        return self._between_events(call)


def host_time(call, device, rounds=9):
    """Seconds until `call` returns to the host, a device being idle before it; a call that waits for the device counts its work too."""
    samples = []
    for _ in range(rounds):
        if torch.device(device).type == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        result = call()
        samples.append(time.perf_counter() - start)
        del result
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
    return samples


def graph_of(call):
    """A callable that replays the call as a CUDA graph; raises what capturing raises."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kept = call()

    def replay():
        graph.replay()
        return kept
    return replay


def interleave(candidates, stopwatch, *, rounds=9, budget=20.0, least=3, prime=False):
    """Times candidates in turn (A, B, C, A, B, C, ...), after one untimed call of each.

    A candidate that has used its share of `budget` seconds stops after `least` runs (after one, if one call takes longer than the
    whole budget), so that a slow baseline does not decide how often the others run.

    prime: an untimed call of the same candidate goes right before each timed one. On a CPU a large fresh result costs what the
    pages cost that the operating system (and a virtual machine's host) hands out, and that depends on who freed memory last and
    how long ago: without priming the candidates pay for each other.

    Args:
        candidates: name -> callable without arguments.
        stopwatch: callable(call) -> seconds.
        rounds: largest number of timed runs of each. budget: seconds for all of them together. least: fewest runs.

    Returns:
        (samples, failures): name -> list of seconds, name -> reason (a candidate that raised).
    """
    samples, failures = {}, {}
    for name, call in candidates.items():
        try:
            call()
            samples[name] = []
        except Exception as error:
            failures[name] = reason(error)
    share, spent = budget / max(1, len(samples)), dict.fromkeys(samples, 0.0)
    for _ in range(rounds):
        for name, seconds in samples.items():
            if spent[name] < (budget if len(seconds) < least else share):
                if prime:
                    spent[name] += stopwatch(candidates[name])
                seconds.append(stopwatch(candidates[name]))
                spent[name] += seconds[-1]
    return samples, failures


def summary(seconds):
    """Median, interquartile range, minimum and count of a list of seconds."""
    quarter = statistics.quantiles(seconds, n=4, method="inclusive") if len(seconds) > 1 else [seconds[0]] * 3
    return {"median": statistics.median(seconds), "q1": quarter[0], "q3": quarter[2], "min": min(seconds), "runs": len(seconds)}


def ratio(slow, fast):
    """Median over the common rounds of slow / fast: pairs of neighbours in time, so that a drifting machine cancels."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=False))


def reason(error):
    """One line for a table."""
    text = " ".join(str(error).split())
    return (text if isinstance(error, Skip) else f"{type(error).__name__}: {text}")[:300]


# ceilings -----------------------------------------------------------------------------------------------------------

class Ceilings:
    """Reading, copying and filling a large tensor with all cores: the roofs that ops are compared with.

    Reading is a sum in float32 (one load per element, no store). Copying counts bytes read and bytes written.
    """

    def __init__(self, device, mebibytes=1024):
        self.device = torch.device(device)
        self.bytes = mebibytes * MIB
        self.source = torch.ones(self.bytes // 4, device=self.device)
        self.target = torch.zeros_like(self.source)

    def read(self):
        return self.source.sum()

    def copy(self):
        return self.target.copy_(self.source)

    def rates(self, samples):
        """Bytes per second from the samples of the candidates "read" and "copy" that were timed beside an op."""
        factor = {"read": 1, "copy": 2}
        return {name: factor[name] * self.bytes / statistics.median(samples[name]) for name in factor if name in samples}


def matmul_rate(device, stopwatch, n):
    """Floating-point operations per second of an n x n float32 matrix product (no tf32)."""
    a, b = torch.rand(n, n, device=device), torch.rand(n, n, device=device)
    samples, _ = interleave({"matmul": lambda: a @ b}, stopwatch, rounds=5)
    return 2 * n ** 3 / statistics.median(samples["matmul"])


# memory -------------------------------------------------------------------------------------------------------------

def available_memory(device="cpu"):
    """Free bytes: of the GPU, or what the kernel says is available."""
    if torch.device(device).type == "cuda":
        return torch.cuda.mem_get_info()[0]
    with open("/proc/meminfo") as file:
        return int(re.search(r"MemAvailable:\s+(\d+) kB", file.read())[1]) * 1024


def require_memory(count, device="cpu"):
    """Raises Skip if `count` bytes of temporaries do not fit with a reserve of a tenth."""
    free = available_memory(device)
    if count * 1.1 > free:
        raise Skip(f"needs {count / 2**30:.1f} GiB of temporaries, {free / 2**30:.1f} GiB are free")


def _status(field):
    with open("/proc/self/status") as file:
        return int(re.search(field + r":\s+(\d+) kB", file.read())[1]) * 1024


def peak_extra_memory(call, device="cpu"):
    """Bytes by which the resident set (on a GPU: the allocator) rises above its state before `call`, results included.

    On the CPU run it in a fresh process (`cpu.py --memory-of CASE`) with MALLOC_MMAP_THRESHOLD_ set: freed blocks that the
    allocator keeps would otherwise hide new ones.
    """
    gc.collect()
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        result = call()
        torch.cuda.synchronize()
        peak = torch.cuda.max_memory_allocated()
        del result
        return peak - before
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    before = _status("VmRSS")
    result = call()
    peak = _status("VmHWM")
    del result
    return peak - before


def tensor_bytes(tensors):
    """Bytes of all tensors in a nested tuple, list or dictionary; None counts nothing."""
    if torch.is_tensor(tensors):
        return tensors.numel() * tensors.element_size()
    if isinstance(tensors, dict):
        tensors = tensors.values()
    elif tensors is None or isinstance(tensors, (int, float, str)):
        return 0
    return sum(tensor_bytes(t) for t in tensors)


# description of the machine -----------------------------------------------------------------------------------------

def _output(*command):
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def commit():
    """The commit of the checkout, with "+changes" if files that are under version control differ from it."""
    name = _output("git", "rev-parse", "--short=12", "HEAD") or "unknown"
    changes = _output("git", "status", "--porcelain", "--untracked-files=no", "--", "svconv", "csrc", "triton_kernels")
    return name + ("+changes" if changes else "")


def versions_of(*paths):
    """What git calls the committed content of files and folders: equal if and only if it is the same."""
    return _output("git", "rev-parse", *(f"HEAD:{path}" for path in paths)).split()


def processor():
    """The processor's name, its family and its vector instruction set."""
    fields = {}
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                key, _, value = line.partition(":")
                fields.setdefault(key.strip(), value.strip())
    except OSError:
        pass
    flags = fields.get("flags", "").split()
    isa = next((name for name in ("avx512f", "avx2", "avx", "sse2") if name in flags), platform.machine())
    return {"name": fields.get("model name") or platform.processor() or platform.machine(),
            "family": fields.get("cpu family"), "model": fields.get("model"), "isa": isa, "cores": os.cpu_count()}


def load_average():
    """Mean number of busy processes over the last minute: much above what the benchmark itself uses means a disturbed machine."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def extension_details():
    """What the compiled module says about itself, or why there is none."""
    from svconv.backends.cpu import extension
    module = extension()
    if isinstance(module, str):
        return {"error": module}
    details = {}
    for name in ("info", "build_info"):
        function = getattr(module, name, None)
        if callable(function):
            details.update(function())
    return {key: value if isinstance(value, (str, int, float, bool, list)) else str(value) for key, value in details.items()}


def metadata(device="cpu"):
    """Everything a reader needs to judge a number: machine, versions, commit, flags."""
    data = {"date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "commit": commit(), "cpu": processor(),
            "python": platform.python_version(), "torch": torch.__version__, "threads": torch.get_num_threads(),
            "system": f"{platform.system()} {platform.release()}", "extension": extension_details(),
            "environment": {key: value for key, value in os.environ.items() if key.startswith("SVCONV_") or key in THREAD_LIMITS},
            "load_average": load_average()}
    if torch.device(device).type == "cuda":
        properties = torch.cuda.get_device_properties(0)
        data["gpu"] = {"name": properties.name, "memory": properties.total_memory, "multiprocessors": properties.multi_processor_count,
                       "capability": list(torch.cuda.get_device_capability(0)), "l2": getattr(properties, "L2_cache_size", None),
                       "cuda": torch.version.cuda,
                       "driver": _output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"),
                       "clocks": _output("nvidia-smi", "--query-gpu=clocks.sm,clocks.mem", "--format=csv,noheader")}
        for name in ("triton", "cupy"):
            try:
                data[name] = __import__(name).__version__
            except Exception as error:
                data[name] = f"absent: {reason(error)}"
    return data


def slug(name):
    """A file name from a processor's or GPU's name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def cpu_slug():
    cpu = processor()
    return slug(f"{cpu['name']} family {cpu['family']} model {cpu['model']} {cpu['cores']} cores")


def finite(data):
    """The data with every number that JSON does not know (NaN, infinity) as a string, so that one bad number never costs a file."""
    if isinstance(data, dict):
        return {key: finite(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [finite(value) for value in data]
    return data if not isinstance(data, float) or math.isfinite(data) else str(data)


def write_json(path, data):
    """A result file; numbers that are not finite are written as strings."""
    pages.write(path, json.dumps(finite(data), indent=1, allow_nan=False) + "\n")


def environment_for_children(**more):
    """The environment of a subprocess: svconv and bench importable from the checkout."""
    paths = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)), **more}


def python(*arguments):
    return [sys.executable, *map(str, arguments)]
