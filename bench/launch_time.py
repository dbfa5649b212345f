"""Host time of a Triton launch: `python bench/launch_time.py [--against CHECKOUT]` prints microseconds per op and per launch.

No GPU is needed: Triton's driver and compiled kernels are stubs, everything else runs in earnest: our glue, Triton's binding and
specialisation of the arguments, its key and its cache. Not counted: the C launcher, the driver, and asking for the current device. The
time per op includes what the op does around its launches, for the Fourier families also torch's transforms of a few pixels on the CPU.

With `--against` another checkout (`git worktree add --detach FOLDER COMMIT`) is measured in the same run, in turn, each round in a fresh
process.
"""
import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CPU_PARTS = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}


class Driver:
    """What `JITFunction.run` asks of a driver."""

    def get_current_device(self):
        return 0

    def get_current_stream(self, device):
        return 0

    def get_current_target(self):
        from triton.backends.compiler import GPUTarget
        return GPUTarget("cuda", 90, 32)


class Compiled:
    """A compiled kernel that does nothing."""

    function = packed_metadata = None

    def launch_metadata(self, grid, stream, *arguments):
        return None

    def run(self, *arguments):
        return None


def prepare(kernel):
    """Has a kernel "compiled" by the stub; Triton sets its own compiler when it first meets a device."""
    if kernel.device_caches[0]:
        kernel.compile = lambda source, target, options: Compiled()


def operations():
    """{name: a call that launches}, on tensors of a few pixels, contiguous and strided."""
    import torch

    from svconv._triton import eff, pixel_filter, quotient
    x, filters = torch.rand(1, 3, 16, 16), torch.rand(1, 1, 2, 3, 3, 16, 16)
    view = torch.rand(1, 1, 2, 3, 3, 16, 32)[..., ::2]
    y, kernel, beta = torch.rand(1, 3, 2, 16, 16), torch.rand(1, 1, 3, 3), torch.ones(1)
    kernels, grid = torch.rand(1, 1, 4, 3, 3), ([2], [2], 0.5, "hann")
    return {
        "pixel_filter": lambda: pixel_filter.pixel_filter_fwd(x, filters, "zeros"),
        "pixel_filter, strided filters": lambda: pixel_filter.pixel_filter_fwd(x, view, "zeros"),
        "pixel_filter_adjoint, zeros": lambda: pixel_filter.pixel_filter_adjoint(y, filters, "zeros"),
        "pixel_filter_adjoint, reflect": lambda: pixel_filter.pixel_filter_adjoint(y, filters, "reflect"),
        "pixel_filter_gram": lambda: pixel_filter.pixel_filter_gram(x[:, :1], filters, None, "zeros"),
        "kernel_quotient": lambda: quotient.kernel_quotient_fwd(x, x, beta, 3, 3, True, 1.0, 1.0),
        "kernel_quotient, backward": lambda: quotient.kernel_quotient_bwd(kernel[0], x, x, beta, True, 1.0, 1.0, True, True, True),
        "image_quotient": lambda: quotient.image_quotient_fwd(x, kernel, beta, None, "circular", 1.0, 1.0),
        "image_quotient, backward": lambda: quotient.image_quotient_bwd(
            x, x, kernel, beta, None, "circular", 1.0, 1.0, True, True, True, False),
        "eff_conv": lambda: eff.eff_fwd(x, kernels, "scatter", "zeros", *grid),
        "eff_conv, gather": lambda: eff.eff_fwd(x, kernels, "gather", "zeros", *grid),
        "eff_kernel_adjoint": lambda: eff.eff_bwd_kernels(x, x, kernels.shape, x.dtype, "scatter", "zeros", *grid),
        "eff_image_quotient": lambda: eff.eff_image_quotient_fwd(x, kernels, beta, None, "replicate", *grid),
        "eff_image_quotient, backward": lambda: eff.eff_image_quotient_bwd(
            x, x, kernels, beta, None, "replicate", *grid, True, True, True, False),
        "eff_kernel_quotient": lambda: eff.eff_kernel_quotient_fwd(x, x, beta, 3, 3, *grid),
        "eff_kernel_quotient, backward": lambda: eff.eff_kernel_quotient_bwd(kernels[0], x, x, beta, *grid, True, True, True),
    }


def recorded(call):
    """The launches of an op."""
    from svconv._triton.launch import Launch
    found, original = [], Launch.__call__
    Launch.__call__ = lambda self, device: found.append(self)
    try:
        call()
    finally:
        Launch.__call__ = original
    return found


def microseconds(call, seconds):
    """Median over samples of 50 calls."""
    samples, stop = [], time.perf_counter() + seconds
    while len(samples) < 5 or time.perf_counter() < stop:
        start = time.perf_counter()
        for _ in range(50):
            call()
        samples.append((time.perf_counter() - start) / 50 * 1e6)
    return statistics.median(samples)


def values(arguments):
    """How many values travel: tensors and numbers, those in tuples too."""
    return sum(values(one) if isinstance(one, tuple) else one is not None for one in arguments)


def worker(seconds):
    """One line per op: name, launches, values that travel, microseconds of the op and of its launches."""
    import torch
    import triton
    triton.runtime.driver.set_active(Driver())
    device = torch.device("cpu")
    for name, call in operations().items():
        launches = recorded(call)
        for one in launches:
            prepare(one.kernel)
        travel = sum(values(one.arguments[p.name] for p in one.kernel.params if not p.is_constexpr) for one in launches)
        call()

        def launch_all(launches=launches):
            for one in launches:
                one(device)

        print(name, len(launches), travel, microseconds(call, seconds), microseconds(launch_all, seconds), sep="\t")


def measure(checkout, seconds):
    """The worker's rows in a fresh process on that checkout."""
    environment = {**os.environ, **CPU_PARTS, "PYTHONPATH": os.pathsep.join([str(checkout), *filter(None, [os.environ.get("PYTHONPATH")])])}
    environment.pop("TRITON_INTERPRET", None)
    done = subprocess.run([sys.executable, __file__, "--worker", str(seconds)], env=environment, cwd=checkout, text=True,
                          stdout=subprocess.PIPE, check=True)
    return [(name, *map(float, numbers)) for name, *numbers in (line.split("\t") for line in done.stdout.splitlines())]


def main():
    parser = argparse.ArgumentParser(prog="python bench/launch_time.py", description=__doc__.splitlines()[0])
    parser.add_argument("--against", type=Path, help="another checkout, measured in turn")
    parser.add_argument("--rounds", type=int, default=7, help="fresh processes per checkout (default 7)")
    parser.add_argument("--smoke", action="store_true", help="one short round")
    parser.add_argument("--worker", type=float, metavar="SECONDS", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker is not None:
        return worker(arguments.worker)
    rounds, seconds = (1, 0.0) if arguments.smoke else (arguments.rounds, 0.3)
    checkouts = [ROOT, *([arguments.against.resolve()] if arguments.against else [])]
    found = [[measure(checkout, seconds) for checkout in checkouts] for _ in range(rounds)]
    for checkout, tables in zip(checkouts, zip(*found, strict=True), strict=True):
        print(f"{checkout.name}\n  {'':31}launches  values  us per op  us of its launches")
        for rows in zip(*tables, strict=True):
            op, launches = (statistics.median(row[i] for row in rows) for i in (3, 4))
            print(f"  {rows[0][0]:31}{rows[0][1]:8.0f}{rows[0][2]:8.0f}{op:11.1f}{launches:20.1f}")


if __name__ == "__main__":
    main()
