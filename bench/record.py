"""From a case to a record: check that the baselines compute the same, time them interleaved, judge."""
import contextlib
import gc
import statistics
import time

import torch

from bench import measure
from bench.measure import Skip, interleave, peak_extra_memory, ratio, reason, summary, tensor_bytes

PER_THREAD = 4 << 20    # bytes that each thread may have beside a share of inputs and results
COMPARED = 1 << 22      # elements of a large result that are compared: evenly spaced


def sampled(result):
    tensors = result if isinstance(result, (tuple, list)) else (result,)
    return [t.detach().flatten()[::max(1, t.numel() // COMPARED)].clone() for t in tensors]


def deviation(result, expected):
    """Largest max|a - b| / max|b| over the tensors of two results."""
    pairs = list(zip(sampled(result), expected, strict=True))
    return max(float((a.double() - b.double()).abs().max() / b.double().abs().max().clamp_min(1e-300)) for a, b in pairs)


@contextlib.contextmanager
def used_backends():
    """The set of backends that serve the ops called inside, filled while they run."""
    from svconv import backends
    used, choose = set(), backends.choose

    def noting(stem, op, *arguments):
        implementation = choose(stem, op, *arguments)
        used.update(name for name in backends.NAMES if getattr(backends.stem_module(name, stem), op, None) is implementation)
        return implementation

    backends.choose = noting
    try:
        yield used
    finally:
        backends.choose = choose


def able_backends(stem, device):
    """The backends that can run some op of the stem on the device."""
    from svconv import backends
    from svconv.ops import _library
    return [name for name in backends.NAMES
            if any(backends.why_not(name, stem, op, device) is None for op, owner in _library.STEMS.items() if owner == stem)]


def prepare(case, inputs, device):
    """(candidates, skipped, deviations, backends): svconv, other backends on a GPU, peers that compute the same, references."""
    with used_backends() as used:
        candidates, skipped, deviations = {"svconv": case.run(inputs, None)}, {}, {}
        expected = sampled(candidates["svconv"]())
    factories = {name: (lambda factory=factory: factory(inputs)) for name, factory in case.peers.items()}
    if torch.device(device).type == "cuda":
        for backend in set(able_backends(case.stem, device)) - used - {"reference"}:
            factories[f"svconv ({backend})"] = lambda backend=backend: case.run(inputs, backend)
    for name, factory in factories.items():
        try:
            call = factory()
            deviations[name] = deviation(call(), expected)
        except Exception as error:          # a baseline that fails is a line of the table, not the end of the run
            skipped[name] = reason(error)
            continue
        if not deviations[name] <= case.tolerance:
            skipped[name] = f"computes something else: deviates by {deviations[name]:.1e}"
            continue
        candidates[name] = call
    for name, factory in case.references.items():
        try:
            candidates[name] = factory(inputs)
        except Skip as error:
            skipped[name] = reason(error)
    return candidates, skipped, deviations, sorted(used)


def measure_case(case, device, stopwatch, ceilings, *, rounds=9, budget=20.0, matmul=None, memory=False):
    """One record of the results file; raises Skip if svconv itself cannot run."""
    inputs = case.inputs(device)
    candidates, skipped, deviations, used = prepare(case, inputs, device)
    candidates |= {"read": ceilings.read, "copy": ceilings.copy}
    budget = budget if case.budget is None else min(budget, case.budget)
    samples, failures = interleave(candidates, stopwatch, rounds=rounds, budget=budget, prime=torch.device(device).type == "cpu")
    if "svconv" in failures:
        raise Skip(failures["svconv"])
    rates = ceilings.rates(samples)
    work = {"svconv", *case.peers, *case.references}
    for name in samples:
        if name in work and name != "fill" or name.startswith("svconv ("):
            samples[name] = [seconds / case.iterations for seconds in samples[name]]
    record = {
        "name": case.name, "stem": case.stem, "step": case.step, "size": case.size, "dtype": case.dtype,
        "commit": measure.commit(), "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "load_average": measure.load_average(), "backend": " + ".join(used) or "torch",
        "read_bytes": case.read(inputs), "written_bytes": case.written(inputs), "flops": case.flops(inputs),
        "rates": rates, "times": {name: summary(seconds) for name, seconds in samples.items()},
        "deviations": deviations, "skipped": {**skipped, **failures}}
    record["metrics"] = metrics(case, record, samples, ceilings, matmul)
    record["targets"] = judge(case, record["metrics"])
    if memory:
        add_memory(case, record, memory_of(candidates["svconv"], inputs, device))
    del candidates, inputs
    gc.collect()
    return record


def metrics(case, record, samples, ceilings, matmul):
    """Numbers of a record that are ratios of neighbours in time."""
    own = samples["svconv"]
    moved = record["read_bytes"] + record["written_bytes"]
    result = {"gigabytes per second": moved / statistics.median(own) / 1e9,
              "percent of read": 100 * moved / ceilings.bytes * ratio(samples["read"], own),
              "percent of copy": 100 * moved / (2 * ceilings.bytes) * ratio(samples["copy"], own)}
    if matmul:
        floor = max(moved / record["rates"]["copy"], record["flops"] / matmul)
        result["percent of roofline"] = 100 * floor / statistics.median(own)
    for name, seconds in samples.items():
        if name in case.peers or name.startswith("svconv ("):
            result[f"vs {name}"] = ratio(seconds, own)
        elif name in case.references:
            result[f"times {name}"] = ratio(own, seconds)
    if "fill" in samples and "forward" in samples:
        result["of 2.5 forwards + fill"] = statistics.median(
            a / (b + 2.5 * c) for a, b, c in zip(own, samples["fill"], samples["forward"], strict=False))
    return result


def judge(case, values):
    """The design's targets of the case with what was measured; a metric that was skipped is not met and says so."""
    judged = []
    for metric, sign, limit in case.targets:
        value = values.get(metric)
        met = value is not None and (value >= limit if sign == ">=" else value <= limit)
        judged.append({"metric": metric, "sign": sign, "limit": limit, "value": value, "met": met})
    return judged


def add_memory(case, record, found):
    """What `memory_of` found, as metrics of the record too; its targets are judged with them."""
    record["memory"] = found
    if "peak_extra" in found:
        held = found["inputs"] + found["results"]
        spare = found["peak_extra"] - found["results"] - torch.get_num_threads() * PER_THREAD
        record["metrics"] |= {"peak gigabytes": (found["inputs"] + found["peak_extra"]) / 1e9, "extra memory": max(0, spare) / held}
        record["targets"] = judge(case, record["metrics"])


def memory_of(call, inputs, device):
    """Peak of a call against the memory that its inputs and results need."""
    extra = peak_extra_memory(call, device)
    results = tensor_bytes(call())
    needed = tensor_bytes(inputs) + results
    return {"inputs": tensor_bytes(inputs), "results": results, "peak_extra": extra, "ratio": (tensor_bytes(inputs) + extra) / needed}
