"""Images larger than memory: the time and memory of a whole task from file to file, and what tiles change in a solver's result.

    python bench/large_image.py                     16384 x 16384 pixels; writes its section of docs/large_images.md
    python bench/large_image.py --side 2048 --print smaller, on the terminal

Every task is a process of its own; its memory is what belongs to no file (RssAnon), looked at every 20 ms. The scratch folder needs about
6 GB.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
import torch

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))

from bench import measure, pages

PATCH, KERNEL, SMALL = 128, 31, 1024
SOLVERS = {"irls": {"reg": 2e-3, "cg_iter": 60}, "richardson_lucy": {"max_iter": 30}}


def scene(folder, side):
    """image.npy [side, side], the demo photograph side by side with itself, and psfs.npy [n, n, KERNEL, KERNEL], n patches a side."""
    from svconv.cli import demo

    n = 2 * side // PATCH - 1
    photograph = demo.photograph(384).plane(1)[0, 0].numpy()
    image = np.lib.format.open_memmap(folder / "image.npy", "w+", np.float32, (side, side))
    rows = np.tile(photograph, (1, -(-side // photograph.shape[1])))[:, :side]
    for top in range(0, side, len(rows)):
        image[top:top + len(rows)] = rows[:side - top]
    image.flush()
    kernels = np.lib.format.open_memmap(folder / "psfs.npy", "w+", np.float32, (n, n, KERNEL, KERNEL))
    t = np.arange(KERNEL) - KERNEL // 2
    for i in range(n):
        for j in range(n):
            a, b = 1 + 3 * i / n, 1 + 3 * j / n
            k = np.exp(-(t[:, None] / a) ** 2 - (t / b) ** 2)
            kernels[i, j] = k / k.sum()
    kernels.flush()
    return n


def conv(folder, side):
    """The blurred image with Dask, two threads of one chunk each."""
    import dask.array as da

    import svconv

    torch.set_num_threads(1)
    kernels = np.load(folder / "psfs.npy", mmap_mode="r")
    grid = svconv.EFFGrid((side, side), kernels.shape[:2])
    x = da.from_array(np.load(folder / "image.npy", mmap_mode="r"), chunks=2048, inline_array=True)
    kernels = da.from_array(kernels.reshape(-1, KERNEL, KERNEL), chunks=(4096, -1, -1))
    y = svconv.interop.dask.eff_conv(x, kernels, grid, padding="replicate")
    target = np.lib.format.open_memmap(folder / "blurred.npy", "w+", np.float32, (side, side))
    da.store(y, target, scheduler="threads", num_workers=2, lock=False)
    target.flush()


def quotient(folder, side):
    from svconv.cli import main

    status = main(["deblur", str(folder / "blurred.npy"), "--psf-grid", str(folder / "psfs.npy"), "--tiles", "auto", "--reg", "1e-3",
                   "--max-pixels", "1e9", "--quiet", "-o", str(folder / "sharp.npy")])
    if status:
        sys.exit(status)


TASKS = {"conv": conv, "quotient": quotient}
TEXT = {"conv": "`svconv.interop.dask.eff_conv`, 2 threads", "quotient": "`svconv deblur --psf-grid --tiles auto`"}


def watched(task, folder, side):
    """Runs a task in this process; {"seconds", "anonymous"}, the memory beside what torch and the imports take."""
    import svconv.cli  # noqa: F401

    end, most = threading.Event(), [0]

    def anonymous():
        with open("/proc/self/status", encoding="ascii") as file:
            return 1024 * next(int(line.split()[1]) for line in file if line.startswith("RssAnon"))

    def watch():
        while not end.wait(0.02):
            most[0] = max(most[0], anonymous())

    thread = threading.Thread(target=watch)
    thread.start()
    start = time.monotonic()
    TASKS[task](folder, side)
    seconds = time.monotonic() - start
    end.set()
    thread.join()
    return {"seconds": seconds, "anonymous": most[0]}


def quality(folder, side):
    """Root mean square of what the quotient restores less the sharp image, and of the blurred one, at the middle."""
    middle = slice(side // 2 - 256, side // 2 + 256)
    sharp, blurred, restored = (np.load(folder / f"{name}.npy", mmap_mode="r")[middle, middle] for name in ("image", "blurred", "sharp"))
    return [float(np.sqrt(np.mean((a - sharp) ** 2))) for a in (blurred, restored)]


def differences(say=print):
    """{solver: [greatest difference of tiles, its root mean square, that near the seams, that of what the solver changes]}."""
    import dask.array as da

    import svconv
    from svconv.cli import demo

    truth = torch.from_numpy(np.tile(demo.photograph(384).plane(1)[0, 0].numpy(), (3, 3))[:SMALL, :SMALL].copy())[None, None]
    grid = svconv.EFFGrid((SMALL, SMALL), (5, 5))
    t = torch.arange(15) - 7
    kernels = torch.stack([torch.exp(-(t[:, None] / (1 + i / 2)) ** 2 - (t / (1 + j / 2)) ** 2) for i in range(5) for j in range(5)])
    kernels = (kernels / kernels.sum((-2, -1), keepdim=True))[None]
    y = svconv.eff_conv(truth, kernels, grid, padding="replicate")
    y = (y + 0.01 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))).clamp_min(0)
    found = {}
    for name, options in SOLVERS.items():
        whole = getattr(svconv.solvers, name)(svconv.EFFBlur(kernels, grid, padding="replicate"), y, border=None, **options).x[0, 0].numpy()
        tiled = getattr(svconv.interop.dask, name)(da.from_array(y[0, 0].numpy(), chunks=SMALL // 2), kernels[0], grid, **options)
        difference, change = tiled.compute(scheduler="sync") - whole, whole - y[0, 0].numpy()
        seam = difference[SMALL // 2 - 16:SMALL // 2 + 16]
        found[name] = [float(abs(difference).max()), *(float(np.sqrt(np.mean(d ** 2))) for d in (difference, seam, change))]
        say(name, *found[name])
    return found


def run_tasks(side, folder, say=print):
    patches = scene(folder, side)
    found = {}
    for task in TASKS:
        done = subprocess.run([sys.executable, __file__, "--task", task, "--side", str(side), "--folder", str(folder)], check=True,
                              stdout=subprocess.PIPE, text=True, env=measure.environment_for_children())
        found[task] = json.loads(done.stdout.splitlines()[-1])
        say(task, found[task])
    return patches, found, quality(folder, side)


def section(side, patches, found, errors, solved):
    cpu, load = measure.processor(), os.getloadavg()[1]
    lines = [f"| {task} | {TEXT[task]} | {value['seconds']:.0f} s | {value['anonymous'] / 1e9:.2f} GB |" for task, value in found.items()]
    tiled = ["| " + " | ".join([f"`{name}`", *(f"{value:.2g}" for value in values)]) + " |" for name, values in solved.items()]
    return f"""Written by `python bench/large_image.py`: {side} x {side} grey float32 pixels ({side * side * 4 / 1e9:.2f} GB),
{patches} x {patches} PSFs of {KERNEL} x {KERNEL}, each for a patch of about {PATCH} pixels, from file to file on {cpu['name']} (family
{cpu['family']}, model {cpu['model']}) with {cpu['cores']} cores (load average {load:.1f}). Memory is what belongs to no file, the
Python process with torch included. The quotient (`--reg 1e-3`) takes the root mean square error at the middle from {errors[0]:.4f} to
{errors[1]:.4f}.

| task | command | time | memory |
| --- | --- | ---: | ---: |
{chr(10).join(lines)}

What tiles change in a solver's result: {SMALL} x {SMALL} pixels in four tiles against the whole, 5 x 5 PSFs of 15 x 15, 1 % noise,
pixels in 0..1. `irls` ends its solves at a relative residual of 1e-4, each tile a little elsewhere. Root mean squares:

| solver | largest difference | difference | difference within 16 pixels of a seam | what the solver changes |
| --- | ---: | ---: | ---: | ---: |
{chr(10).join(tiled)}"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=16384)
    parser.add_argument("--print", action="store_true", dest="only_print", help="do not write the page")
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "docs" / "large_images.md")
    parser.add_argument("--task", choices=TASKS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=pathlib.Path, help="scratch files (default: a temporary folder)")
    arguments = parser.parse_args()
    if arguments.task:
        print(json.dumps(watched(arguments.task, arguments.folder, arguments.side)))
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        found = run_tasks(arguments.side, pathlib.Path(folder))
    text = section(arguments.side, *found, differences())
    print(text)
    if not arguments.only_print:
        pages.fill(arguments.output, "measured", text, "Images larger than memory")


if __name__ == "__main__":
    main()
