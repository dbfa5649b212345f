"""How the GPU command measures: what is right, in which order the device is kept busy, which numbers reach the file."""
import json
import math
import pathlib
import re
import sys
import types

import pytest
import torch

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def checkout_on_path(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT)])


@pytest.fixture
def bench():
    from bench.gpu_record import Bench, Settings
    return Bench(Settings(rehearse=True))


def case(run, **more):
    from bench.cases import Case
    return Case("pixel_filter", "forward", "eight", lambda device: {"x": torch.arange(1.0, 9.0)}, run, read=lambda v: 32,
                written=lambda v: 32, flops=lambda v: 8, **more)


def unit(**more):
    return {"name": "n", "case": "c", "backend": None, "variant": None, "peer": None} | more


# numbers -------------------------------------------------------------------------------------------------------------

def test_numbers_that_are_not_finite_become_strings_everywhere(tmp_path):
    from bench import measure
    data = {"a": [1.0, math.nan, (math.inf, -math.inf)], "b": {"c": math.nan, "d": None, "e": True, "f": 3}, 5: "text"}
    measure.write_json(tmp_path / "deep" / "file.json", data)
    assert json.loads((tmp_path / "deep" / "file.json").read_text()) == {
        "a": [1.0, "nan", ["inf", "-inf"]], "b": {"c": "nan", "d": None, "e": True, "f": 3}, "5": "text"}


def test_reports_print_numbers_that_are_strings():
    from bench import report
    entry = {"stem": "disk", "step": "forward", "size": "s", "dtype": "float32", "backend": "triton",
             "times": {"svconv": {"median": "nan"}}, "metrics": {"gigabytes per second": "nan", "percent of copy": "inf", "vs loop": "nan"},
             "verified": {"passed": None}}
    row = report.gpu_table({"records": [entry]})[-1]
    assert "| nan | - | - | nan | inf % | loop nan |" in row


def test_reports_name_wrong_results_and_families_whose_tests_fail():
    from bench import report
    entry = {"stem": "disk", "step": "forward", "size": "s", "dtype": "float32", "backend": "cuda", "variant": "512 lanes",
             "times": {"svconv": {"median": 1e-3}}, "host": {"median": 2e-5}, "graph": {"median": 5e-4},
             "metrics": {"gigabytes per second": 10.0, "percent of copy": 50.0, "vs loop": 2.0}}
    right = entry | {"verified": {"passed": True}}
    wrong = entry | {"verified": {"passed": False, "deviation": 0.25}}
    rows = report.gpu_table({"records": [right, wrong]})[-2:]
    assert "cuda, 512 lanes | 1 ms | 20 µs | 500 µs | 10 | 50 % | loop 2.0x" in rows[0] and "**wrong: deviates by 0.25" in rows[1]
    failing = report.gpu_table({"records": [right], "tests": {"failed": [{"test": "tests/gpu/test_disk.py::test_a"}]}})[-1]
    assert "**tests of this family fail**" in failing and "2.0x" not in failing


# right first ---------------------------------------------------------------------------------------------------------

def test_svconv_is_compared_with_float64_even_where_every_baseline_shares_its_error(bench):
    def run(v, backend=None):
        return lambda: 2 * v["x"] if v["x"].dtype == torch.float64 else 2.01 * v["x"]

    wrong = case(run, peers={"the same error": lambda v: lambda: 2.01 * v["x"]})
    found = bench.own_record(wrong, unit())["verified"]
    assert found["passed"] is False and found["deviation"] == pytest.approx(0.005, rel=0.01) and found["limit"] == 1e-4
    assert bench.peer(wrong, unit(peer="the same error"))["deviation"] == 0


def test_an_output_that_is_not_written_is_seen(bench):
    def forgetful(v, backend=None):
        def call():
            y = v["x"].new_empty(8)
            y[:7] = 2 * v["x"][:7]
            return y if v["x"].dtype == torch.float32 else 2 * v["x"]
        return call

    empty = torch.Tensor.new_empty
    assert bench.own_record(case(forgetful), unit())["verified"] == {
        "deviation": pytest.approx(math.nan, nan_ok=True), "limit": 1e-4, "not_finite": 1, "passed": False}
    assert torch.Tensor.new_empty is empty


def test_without_memory_for_float64_the_number_stays_and_says_so(bench, monkeypatch):
    from bench import measure
    monkeypatch.setattr(measure, "available_memory", lambda device: 100)
    record = bench.own_record(case(lambda v, backend=None: lambda: 2 * v["x"]), unit())
    assert record["verified"]["passed"] is None and "needs" in record["verified"]["reason"] and record["times"]["svconv"]["median"] > 0


def test_large_cases_are_verified_on_inputs_of_their_own(bench):
    sizes = []

    def run(v, backend=None):
        sizes.append(v["x"].numel())
        return lambda: 2 * v["x"]

    record = bench.own_record(case(run, checked=lambda device: {"x": torch.ones(3)}), unit())
    assert sizes[:2] == [3, 3] and set(sizes[2:]) == {8} and record["verified"]["size"].startswith("smaller")


def test_a_baseline_that_computes_something_else_or_nan_is_refused(bench):
    from bench.measure import Skip
    one = case(lambda v, backend=None: lambda: 2 * v["x"], references={"half": lambda v: lambda: v["x"][:4] + 1},
               peers={"wrong": lambda v: lambda: 3 * v["x"], "nan": lambda v: lambda: math.nan * v["x"],
                      "sum": lambda v: lambda: v["x"] + v["x"]})
    for name in ("wrong", "nan"):
        with pytest.raises(Skip, match="computes something else"):
            bench.peer(one, unit(peer=name))
    assert bench.peer(one, unit(peer="sum"))["ratio"] > 0
    assert bench.peer(one, unit(peer="half", reference=True))["deviation"] is None


def test_a_record_is_measured_for_the_forced_backend_unless_that_is_the_automatic_choice(bench):
    import svconv
    from bench.measure import Skip
    x, f = torch.rand(1, 1, 9, 8), torch.rand(1, 1, 1, 3, 3, 9, 8)

    def run(v, backend=None):
        return lambda: svconv.pixel_filter(v["x"], v["f"], backend=backend)

    one = case(run)
    object.__setattr__(one, "inputs", lambda device: {"x": x, "f": f})
    automatic = bench.own_record(one, unit())["backend"]
    assert automatic in ("cpu", "reference")
    with pytest.raises(Skip, match="the automatic choice"):
        bench.own_record(one, unit(backend=automatic))
    if automatic == "cpu":
        assert bench.own_record(one, unit(backend="reference"))["forced"] == "reference"


def test_a_backend_is_known_by_its_function_wherever_that_is_defined(monkeypatch):
    pytest.importorskip("triton")
    from bench import record
    from svconv import backends
    monkeypatch.setattr(backends, "choose", lambda stem, op, *_: getattr(backends.stem_module("triton", stem), op))
    with record.used_backends() as used:
        for stem, op in (("pixel_filter", "pixel_filter_fwd"), ("disk", "disk_blur_fwd"), ("quotient", "conv_fwd")):
            backends.choose(stem, op, "cuda", "", (torch.zeros(1, 1, 2, 2), 1.0))
    assert used == {"triton"}


# time -----------------------------------------------------------------------------------------------------------------

class FakeDevice:
    """Takes down what a stopwatch asks of a device; an event has the time that has been slept and worked until it."""

    def __init__(self, monkeypatch):
        self.calls, self.now = [], 0.0
        fake = self

        class Event:
            def __init__(self, enable_timing):
                self.time = None

            def record(self):
                fake.calls.append("event")
                self.time = fake.now

            def synchronize(self):
                pass

            def elapsed_time(self, other):
                return 1e3 * (other.time - self.time)

        def sleep(cycles):
            self.calls.append(("sleep", cycles))
            self.now += cycles / 2e9

        class Buffer:
            def zero_(self):
                fake.calls.append("write over")

            def sum(self):
                fake.calls.append("read over")

        monkeypatch.setattr(torch, "cuda", types.SimpleNamespace(
            Event=Event, _sleep=sleep, get_device_properties=lambda _: types.SimpleNamespace(L2_cache_size=1 << 20)))
        monkeypatch.setattr(torch, "empty", lambda *_, **__: Buffer())
        monkeypatch.setattr(torch, "zeros", lambda *_, **__: Buffer())

    def work(self):
        self.calls.append("work")
        self.now += 1e-5


def test_the_stopwatch_flushes_reads_sleeps_and_only_then_times(monkeypatch):
    from bench import measure
    device = FakeDevice(monkeypatch)
    watch = measure.CUDAStopwatch()
    assert watch.cycles == pytest.approx(2e9)
    for host, slept in ((1e-5, 1e-3), (1e-3, 1.5e-3), (1.0, 3e-3)):
        watch.expect(host)
        device.calls.clear()
        assert watch(device.work) == pytest.approx(1e-5)
        assert device.calls == ["write over", "read over", ("sleep", int(slept * watch.cycles)), "event", "work", "event"]


def test_host_time_is_apart_from_device_time_and_graph_time(bench):
    from bench import measure
    record = bench.own_record(case(lambda v, backend=None: lambda: 2 * v["x"]), unit())
    assert record["host"]["runs"] == 3 and record["graph"] is None
    assert "GPU" in bench.graph_replay(bench.case, unit())["reason"]
    bench.settings.device = "cuda"
    assert bench.graph_replay(case(lambda v, backend=None: None, uncaptured="it waits"), unit()) == {"reason": "it waits"}
    assert len(measure.host_time(lambda: None, "cpu", rounds=4)) == 4


def test_steps_of_one_call_share_its_time(bench):
    ten = bench.own_record(case(lambda v, backend=None: lambda: [2 * v["x"] for _ in range(200)][-1], iterations=200), unit())
    bench.case = None
    one = bench.own_record(case(lambda v, backend=None: lambda: [2 * v["x"] for _ in range(200)][-1]), unit())
    assert ten["times"]["svconv"]["median"] < one["times"]["svconv"]["median"] / 10 and ten["host"]["median"] < one["host"]["median"] / 10


# settings ----------------------------------------------------------------------------------------------------------------

def test_tiles_of_512_pixels_last_as_long_as_the_block():
    pytest.importorskip("triton")
    from svconv._triton.pixel_filter import adjoint, aot_launches

    from bench.lanes import lanes
    from svconv._triton import tiles

    def pixels():
        return {launch.arguments.get("BLOCK") or launch.arguments["TH"] * launch.arguments["TW"]
                for _, launch in aot_launches(torch.bfloat16, labels=("7x7",))}

    before, kernel = pixels(), adjoint._pixel_filter_adjoint_kernel
    with pytest.raises(ValueError), lanes(2 * tiles.LANES):
        assert pixels() == {2 * n for n in before} and adjoint.LANES == tiles.LANES == 512
        assert adjoint._pixel_filter_adjoint_kernel is not kernel
        raise ValueError
    assert pixels() == before and adjoint.LANES == tiles.LANES == 256 and adjoint._pixel_filter_adjoint_kernel is kernel


@pytest.mark.parametrize("dtype, one, two", [(torch.float32, "b32", "v2.b32"), (torch.bfloat16, "b16", "b32")])
def test_wide_tiles_read_the_filters_by_wide_loads(dtype, one, two):
    pytest.importorskip("triton")
    import triton
    from svconv._triton.pixel_filter import aot_launches

    from aot.test_compile import TARGETS, source
    from bench.lanes import lanes

    def loads():
        launch = next(launch for label, launch in aot_launches(dtype, labels=("7x7",)) if label.startswith("fwd"))
        text = triton.compile(source(launch), target=TARGETS["sm_90"], options=launch.options(32)).asm["ptx"]
        return set(re.findall(r"ld\.global\.(\S+)", text))

    assert loads() == {one}
    with lanes(512):
        assert loads() == {one, two}


def test_a_setting_holds_while_the_case_is_prepared_and_while_it_runs(bench):
    import contextlib
    state = []

    @contextlib.contextmanager
    def wide():
        state.append("wide")
        yield
        state.pop()

    seen = []
    one = case(lambda v, backend=None: seen.append(tuple(state)) or (lambda: seen.append(tuple(state)) or 2 * v["x"]),
               variants={"triton": {"wide": wide}})
    bench.once(one, unit(backend="triton", variant="wide"))
    assert seen == [("wide",), ("wide",)] and state == []


@pytest.mark.parametrize("stem, name", [("disk", "radius"), ("gaussian", "sigma")])
def test_cases_can_promise_the_largest_value_of_their_map(stem, name):
    from bench import cases
    for case in cases.cases([stem], smoke=True):
        if "backward" not in case.step:
            inputs = case.inputs("cpu")
            expected = case.run(inputs)()
            with cases.promised():
                assert torch.allclose(case.run(inputs)(), expected, atol=1e-5)
                far = [inputs | {name: inputs[name] + more} for more in (100, 200)]
                assert torch.equal(*(case.run(one)() for one in far))
        assert case.uncaptured


# units ----------------------------------------------------------------------------------------------------------------------

def session(stems=None):
    records = []
    return types.SimpleNamespace(options=types.SimpleNamespace(rehearse=False, stem=stems), device="cuda", records=records,
                                 record=lambda name: name if name in records else None)


def test_every_backend_that_can_and_every_setting_gets_a_unit(monkeypatch):
    from bench import gpu_units
    monkeypatch.setattr(gpu_units, "able_backends", lambda stem, device: ["cuda", "triton", "reference"])
    one = case(lambda v, backend=None: None, variants={"triton": {"wide": None}, "xpu": {"other": None}})
    found = [(u["backend"], u["variant"]) for u in gpu_units.own_units(session(), [one])]
    assert found == [(None, None), ("cuda", None), ("triton", None), ("triton", "wide")]
    monkeypatch.setattr(gpu_units, "able_backends", lambda stem, device: ["triton", "reference"])
    assert [u["backend"] for u in gpu_units.own_units(session(), [one])] == [None, "triton"]


def test_families_take_turns_and_baselines_follow_only_what_was_measured():
    from bench import gpu_units
    some = session(["disk", "pixel_filter"])
    chosen = gpu_units.timed_cases(some)
    assert [one.stem for one in chosen[:4]] == ["disk", "pixel_filter"] * 2
    assert list(gpu_units.peer_units(some, chosen, compiled=False)) == []
    some.records.extend(one.name for one in chosen if one.stem == "pixel_filter")
    eager, compiled = ({u["peer"] for u in gpu_units.peer_units(some, chosen, compiled=flag)} for flag in (False, True))
    assert compiled == {"torch.compile"} and "in-place shift loop" in eager and "torch.compile" not in eager and "forward" in eager
    profiled = [u["case"] for u in gpu_units.profiled_units(some, chosen)]
    assert any("bfloat16" in name for name in profiled) and all("1024 x 1024" in name for name in profiled)


def test_models_come_with_their_shipped_weights():
    from bench import gpu_models
    full, tiny = gpu_models.cases(), gpu_models.cases(rehearse=True)
    assert [one.step for one in full] == [one.step for one in tiny] == ["SVMAP", "LearningToDeblur", "SVBRNet"]
    for step in ("SVBRNet", "LearningToDeblur"):
        one = next(c for c in tiny if c.step == step)
        inputs = one.inputs("cpu")
        result = one.run(inputs)()
        assert torch.isfinite(result).all() and torch.allclose(one.peers["plain torch"](inputs)(), result, atol=1e-4)
