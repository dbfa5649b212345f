"""What the examples share: are the two networks equal, and what do forward + backward take, in seconds and in memory?

An example is a module with the classes `Plain` and `WithSvconv` (the same parameters) and a function `inputs(size, seed, batch)`. One that
has several cases gives them as `CASES`, a name -> the keyword arguments of classes and inputs.
"""
import argparse
import gc
import importlib
import json
import os
import pathlib
import subprocess
import sys

import torch

FOLDER = pathlib.Path(__file__).resolve().parent
sys.path.append(str(FOLDER.parent))     # last: an installed svconv goes before the checkout
measure = importlib.import_module("bench.measure")

NAMES = ("burst_kpn", "feature_wiener", "usrnet_data_step", "defocus_renderer", "unrolled_eff")


def stem(example):
    return pathlib.Path(example.__file__).stem


def cases(example):
    """name -> keyword arguments"""
    return getattr(example, "CASES", {stem(example): {}})


def networks(example, dtype=torch.float32, **options):
    """Both networks with the same parameters."""
    torch.manual_seed(0)
    plain, ours = example.Plain(**options).to(dtype), example.WithSvconv(**options).to(dtype)
    ours.load_state_dict(plain.state_dict())
    return {"plain": plain, "svconv": ours}


def step(network, given):
    """Forward and backward as in training; the gradients stay at the parameters."""
    network.zero_grad()
    network(*given).square().mean().backward()


def differences(example, size, dtype, *, batch=1, seed=1, **options):
    """The largest difference of the outputs and of each gradient, inputs' included, as parts of the largest value of the plain one."""
    found = []
    for network in networks(example, dtype, **options).values():
        given = [t.to(dtype).requires_grad_() for t in example.inputs(size, seed, batch, **options)]
        output = network(*given)
        weights = torch.linspace(-1, 1, output.numel(), dtype=dtype).view_as(output)
        (weights * output).sum().backward()
        values = {"output": output.detach(), **{f"input {i}": t.grad for i, t in enumerate(given)}}
        found.append(values | {name: p.grad for name, p in network.named_parameters()})
    return {name: float((found[1][name] - t).abs().max() / t.abs().max()) for name, t in found[0].items()}


def seconds(example, size, rounds, budget=20.0, **options):
    """{"plain": samples, "svconv": samples} of forward + backward, in turn."""
    given = example.inputs(size, 1, 1, **options)
    calls = {name: (lambda network=network: step(network, given)) for name, network in networks(example, **options).items()}
    gc.collect()
    samples, failures = measure.interleave(calls, measure.CPUStopwatch(), rounds=rounds, budget=budget)
    if failures:
        raise RuntimeError(f"{stem(example)}: {failures}")
    return samples


def extra_memory(example, size, which, **options):
    """Bytes above inputs and network at the peak of forward + backward, in a process of its own."""
    environment = measure.environment_for_children(MALLOC_MMAP_THRESHOLD_="65536", MALLOC_TRIM_THRESHOLD_="65536")
    call = measure.python(__file__, example.__file__, which, json.dumps(size), json.dumps(options))
    done = subprocess.run(call, env=environment, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise RuntimeError(f"{stem(example)}, memory of {which}: {done.stderr.strip()[-500:]}")
    return int(done.stdout)


def memory_here(path, which, size, options):
    """What `extra_memory` runs: once small, so that libraries are loaded and their pools made, then once to be measured."""
    path = pathlib.Path(path)
    sys.path.insert(0, str(path.parent))
    example, options = importlib.import_module(path.stem), json.loads(options)
    network = networks(example, **options)[which]
    step(network, example.inputs((40, 40), 1, 1, **options))
    given = example.inputs(json.loads(size), 1, 1, **options)
    print(measure.peak_extra_memory(lambda: step(network, given)))


def main(example, argv=None):
    """Prints for each case of an example whether both are equal, and what they take."""
    parser = argparse.ArgumentParser(description=example.__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=96, help="side of the image")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-memory", action="store_true", help="start no processes that measure memory")
    options = parser.parse_args(argv)
    size = options.size, options.size
    for name, case in cases(example).items():
        print(f"{name}, {size[0]} x {size[1]}, {torch.get_num_threads()} threads, load average {os.getloadavg()[0]:.1f}")
        differ = differences(example, size, torch.float64, **case)
        output, worst = differ.pop("output"), max(differ, key=differ.get)
        print(f"  float64: outputs differ by {output:.1e} of the largest value, gradients by at most {differ[worst]:.1e} ({worst})")
        taken = seconds(example, size, options.rounds, **case)
        line = ", ".join(f"{which} {measure.summary(values)['median']:.4f} s" for which, values in taken.items())
        print(f"  forward + backward: {line}, {measure.ratio(*taken.values()):.1f}x")
        if not options.no_memory:
            line = ", ".join(f"{which} {extra_memory(example, size, which, **case) / measure.MIB:.0f} MiB" for which in taken)
            print(f"  extra memory at the peak: {line}")


if __name__ == "__main__":
    memory_here(*sys.argv[1:])
