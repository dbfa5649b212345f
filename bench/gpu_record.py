"""What one unit of the GPU run finds out: svconv alone (right? how fast?), a peer beside it, or nothing but compiled kernels.

svconv comes first and by itself. Its result is compared with the reference in float64, memory that it gets being filled with NaN before,
and only what is right is timed beside others.
"""
import contextlib
import functools
import gc
import time

import torch

from bench import measure, record
from bench.measure import Skip, reason, summary

# max |a - b| / max |b| of svconv against float64, beside the tolerance of the case for its peers
LIMITS = {"float32": 1e-3, "bfloat16": 1e-2, "float16": 2e-3, "float64": 1e-10}


class Settings:
    """How long and on what a child measures; what has to be measured for it is measured when it is first asked for."""

    def __init__(self, rehearse):
        self.rehearse = rehearse
        self.device = "cpu" if rehearse else "cuda"
        self.rounds, self.budget, self.host_rounds = (3, 0.2, 3) if rehearse else (25, 0.8, 9)
        self.peer_rounds, self.peer_budget = (2, 0.2) if rehearse else (9, 1.0)

    @functools.cached_property
    def stopwatch(self):
        return measure.CPUStopwatch() if self.rehearse else measure.CUDAStopwatch()

    @functools.cached_property
    def ceilings(self):
        return measure.Ceilings(self.device, 16 if self.rehearse else 1024)

    @functools.cached_property
    def matmul(self):
        return measure.matmul_rate(self.device, self.stopwatch, 256 if self.rehearse else 8192)

    def expect(self, host):
        if hasattr(self.stopwatch, "expect"):
            self.stopwatch.expect(host)


@contextlib.contextmanager
def poisoned():
    """Memory from torch.empty, torch.empty_like and Tensor.new_empty is full of NaN: what a kernel leaves out is seen."""
    owners = ((torch, "empty"), (torch, "empty_like"), (torch.Tensor, "new_empty"))
    before = [getattr(owner, name) for owner, name in owners]

    def filled(make):
        def wrapper(*args, **kwargs):
            t = make(*args, **kwargs)
            return t.fill_(float("nan")) if t.is_floating_point() and t.device.type != "meta" else t
        return wrapper

    for (owner, name), make in zip(owners, before, strict=True):
        setattr(owner, name, filled(make))
    try:
        yield
    finally:
        for (owner, name), make in zip(owners, before, strict=True):
            setattr(owner, name, make)


def in_float64(inputs):
    return {name: t.double() if torch.is_tensor(t) and t.is_floating_point() else t for name, t in inputs.items()}


def reference_result(case, inputs):
    """What the reference computes in float64, kept as few evenly spaced elements; Skip where memory is short."""
    from svconv.backends import use_backend
    measure.require_memory(8 * measure.tensor_bytes(inputs), next(t.device for t in inputs.values() if torch.is_tensor(t)))
    with use_backend("reference"):
        return record.sampled(case.run(in_float64(inputs), "reference")())


def verified(case, run, inputs, expected):
    """{"deviation", "limit", "passed"} of one run in poisoned memory; passed is None, with the reason, where there is nothing to compare.

    A NaN is a deviation, never a pass.
    """
    if isinstance(expected, str):
        return {"deviation": None, "limit": None, "passed": None, "reason": expected}
    with poisoned():
        result = run(inputs)()
    deviation = record.deviation(result, expected)
    tensors = result if isinstance(result, (tuple, list)) else (result,)
    bad = 0 if not all(bool(e.isfinite().all()) for e in expected) else sum(int((~t.isfinite()).sum()) for t in tensors)
    limit = case.tolerance if case.checked is not None else min(LIMITS[case.dtype], case.tolerance)
    return {"deviation": deviation, "limit": limit, "not_finite": bad, "passed": deviation <= limit and not bad}


class Bench:
    """The cases of one child: inputs and expected results are kept from unit to unit of the same case."""

    def __init__(self, settings):
        self.settings = settings
        self.case = self.inputs = self.expected = self.automatic = None

    def take(self, case):
        if self.case is None or self.case.name != case.name:
            self.case = self.inputs = self.expected = self.automatic = None
            gc.collect()
            if self.settings.device == "cuda":
                torch.cuda.empty_cache()
            self.case, self.inputs = case, case.inputs(self.settings.device)
        return self.inputs

    def runner(self, unit):
        """inputs -> callable: the case with the backend and the setting of the unit."""
        case, backend = self.case, unit.get("backend")
        setting = case.variants[backend][unit["variant"]] if unit.get("variant") else contextlib.nullcontext

        def run(inputs):
            with setting():
                call = case.run(inputs, backend)

            def timed():
                with setting():
                    return call()
            return timed if unit.get("variant") else call
        return run

    def once(self, case, unit):
        """Compiles what the unit launches and runs it; the result is thrown away."""
        inputs = self.take(case)
        self.runner(unit)(inputs)()
        if self.settings.device == "cuda":
            torch.cuda.synchronize()

    # svconv by itself ---------------------------------------------------------------------------------------------------

    def check(self, case, unit):
        """(what `verified` says, the backends that served it)."""
        self.take(case)
        checked = self.inputs if case.checked is None else case.checked(self.settings.device)
        if self.expected is None:
            try:
                self.expected = reference_result(case, checked)
            except Skip as skip:
                self.expected = f"not verified: {skip}"
        with record.used_backends() as used:
            found = verified(case, self.runner(unit), checked, self.expected)
        if case.checked is not None:
            found["size"] = "smaller than the one that is timed"
        return found, sorted(used)

    def own_record(self, case, unit):
        """The record of one case and backend, verified and timed beside reading and copying."""
        settings = self.settings
        found, used = self.check(case, unit)
        if unit.get("backend") is None:
            self.automatic = used
        elif not unit.get("variant") and used == self.automatic:
            raise Skip("the automatic choice, which is measured")
        call = self.runner(unit)(self.inputs)
        call()
        host = [seconds / case.iterations for seconds in measure.host_time(call, settings.device, settings.host_rounds)]
        settings.expect(case.iterations * summary(host)["median"])
        samples, failures = measure.interleave(
            {"svconv": call, "read": settings.ceilings.read, "copy": settings.ceilings.copy}, settings.stopwatch, rounds=settings.rounds,
            budget=settings.budget, prime=settings.device == "cpu")
        if "svconv" in failures:
            raise RuntimeError(failures["svconv"])
        samples["svconv"] = [seconds / case.iterations for seconds in samples["svconv"]]
        inputs = self.inputs
        entry = {
            "name": case.name, "stem": case.stem, "step": case.step, "size": case.size, "dtype": case.dtype,
            "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "backend": " + ".join(used) or "torch",
            "forced": unit.get("backend"), "variant": unit.get("variant"), "verified": found,
            "read_bytes": case.read(inputs), "written_bytes": case.written(inputs), "flops": case.flops(inputs),
            "rates": settings.ceilings.rates(samples), "times": {name: summary(seconds) for name, seconds in samples.items()},
            "host": summary(host), "graph": None, "deviations": {}, "skipped": {}}
        entry["metrics"] = record.metrics(case, entry, samples, settings.ceilings, settings.matmul)
        return entry

    def memory(self, case, unit):
        return record.memory_of(self.runner(unit)(self.inputs), self.inputs, self.settings.device)

    def graph_replay(self, case, unit):
        """Times of the replayed graph, or the reason why there is none."""
        if self.settings.device != "cuda":
            return {"reason": "CUDA graphs need a GPU"}
        if case.uncaptured and not unit.get("variant"):
            return {"reason": case.uncaptured}
        try:
            replay = measure.graph_of(self.runner(unit)(self.inputs))
        except Exception as error:
            return {"reason": reason(error)}
        samples, _ = measure.interleave({"graph": replay}, self.settings.stopwatch, rounds=15, budget=0.3)
        return summary([seconds / case.iterations for seconds in samples["graph"]])

    # a peer beside svconv -----------------------------------------------------------------------------------------------

    def peer(self, case, unit):
        """{"peer", "seconds", "ratio", "deviation"} of a baseline or a reference, timed in turn with svconv."""
        settings, name = self.settings, unit["peer"]
        inputs = self.take(case)
        own = case.run(inputs, None)
        call = (case.references if unit.get("reference") else case.peers)[name](inputs)
        found = {"peer": name, "reference": bool(unit.get("reference")), "deviation": None}
        if not found["reference"]:
            found["deviation"] = record.deviation(call(), record.sampled(own()))
            if not found["deviation"] <= case.tolerance:
                raise Skip(f"computes something else: deviates by {found['deviation']:.1e}")
        settings.expect(1.0)        # a baseline of many small launches shall not be charged for its Python
        samples, failures = measure.interleave({"svconv": own, name: call}, settings.stopwatch, rounds=settings.peer_rounds,
                                               budget=min(settings.peer_budget, case.budget or settings.peer_budget))
        if failures:
            raise RuntimeError("; ".join(failures.values()))
        found["ratio"] = measure.ratio(samples[name], samples["svconv"])
        divide = case.iterations if name != "fill" else 1
        return found | {"seconds": summary([seconds / divide for seconds in samples[name]])}
