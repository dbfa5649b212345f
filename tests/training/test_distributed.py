"""Runs by two processes of torchrun: the losses and weights of one process, one writer, one decision to stop."""
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

import svconv
from svconv.training.checkpoint import load_checkpoint
from svconv.training.distributed import Alone, Processes, processes
from svconv.training.metrics import MetricsLog

SMALL = {
    "svmap": "--size 16 --kernel-least 5 --kernel-most 7 --width 8 --cg-iter 60 --cg-tol 1e-6 --validation-size 16 --steps 40",
    "svbr": "--size 20 --map-size 40 --validation-size 24 --steps 40,0",
    "ltd": "--kernel-sizes 5 --smallest 3 --size 24 --filter-size 3 --validation-size 32 --steps 2,38 --frozen-steps 1 --rejection 1.2",
    "ldr": "--width 4 --size 32 --validation-size 32 --kernel-least 5 --kernel-most 7 --steps 40,0 --periods 40,1",
}


def start(photographs, out, model, *more, several=True):
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"] if several else []
    command = [*torchrun, "-m", "svconv", "train", model, "--data", str(photographs), "--out", str(out), "--quiet", "--batch", "4",
               "--validation-pairs", "2", "--validate-every", "2", "--save-every", "2", *SMALL[model].split(), *more]
    environment = dict(os.environ, PYTHONPATH=os.path.dirname(os.path.dirname(svconv.__file__)), OMP_NUM_THREADS="1")
    return subprocess.Popen([sys.executable, *command], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(process, status=0):
    output, errors = process.communicate(timeout=240)
    assert process.returncode == status, errors
    return output, errors


def run(out, model):
    state = load_checkpoint(out / "last.pt", model)
    return state, MetricsLog(out / "metrics.jsonl").read()


@pytest.mark.parametrize("model", ["svmap", "ltd"])
def test_two_processes_learn_as_one_does(photographs, tmp_path, model):
    more = ["--max-steps", "5", "--optimiser", "adam", "--rate", "1e-4"]        # larger steps would multiply what rounds differently
    runs = [start(photographs, tmp_path / str(several), model, *more, several=several) for several in (False, True)]
    outputs = [finished(process)[0] for process in runs]
    assert all(text.count("budget used at step 5") == 1 for text in outputs)
    (one, log), (two, logged) = (run(tmp_path / str(several), model) for several in (False, True))
    assert (one["step"], one["position"]) == (two["step"], two["position"]) == (5, 20) and len(log) == len(logged)
    assert [r["train_error"] for r in log[1:]] == pytest.approx([r["train_error"] for r in logged[1:]], abs=1e-5)
    a, b = (torch.cat([entry["exp_avg"].flatten() for entry in state["task"]["optimiser"]["state"].values()]) for state in (one, two))
    assert float(a.norm()) > 0 and float((a - b).norm() / a.norm()) < 1e-2       # the means of the gradients
    a, b = one["task"]["model"], two["task"]["model"]
    assert a.keys() == b.keys() and all(torch.allclose(a[k], b[k], rtol=0, atol=2e-5) for k in a)
    if model == "ltd":
        assert log[-1]["rejected"] == logged[-1]["rejected"] > 0        # both know the errors of the whole batch


@pytest.mark.parametrize("model", ["svbr", "ldr"])
def test_each_process_norms_its_share_and_keeps_the_mean_statistics(photographs, tmp_path, model):
    finished(start(photographs, tmp_path / "o", model, "--max-steps", "3"))
    state = run(tmp_path / "o", model)[0]["task"]["model"]
    assert all(bool(torch.isfinite(t).all()) for t in state.values())
    finished(start(photographs, tmp_path / "p", model, "--max-steps", "3"))
    again = run(tmp_path / "p", model)[0]["task"]["model"]
    assert all(torch.equal(t, again[name]) for name, t in state.items())
    assert any("running_mean" in name and bool(t.any()) for name, t in state.items())


def test_an_interrupt_stops_both_and_one_resumes_the_run_of_two(photographs, tmp_path):
    out = tmp_path / "o"
    process = start(photographs, out, "svmap", "--steps", "100000")
    deadline = time.monotonic() + 120
    while not (out / "last.pt").exists() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)     # torchrun passes it on
    output, _ = process.communicate(timeout=120)
    assert output.count("interrupted; go on with --resume") == 1
    stopped = run(out, "svmap")[0]["step"]
    assert stopped >= 2
    finished(start(photographs, out, "svmap", "--resume", str(out / "last.pt"), "--max-steps", "2", several=False))
    state, log = run(out, "svmap")
    assert state["step"] == stopped + 2 and state["position"] == 4 * state["step"]
    steps = [r["step"] for r in log if "psnr" in r]
    assert steps == list(range(2, state["step"] + 1, 2))


def test_a_batch_that_cannot_be_shared_is_named(photographs, tmp_path):
    process = start(photographs, tmp_path / "o", "svmap", "--batch", "3")
    _, errors = process.communicate(timeout=120)
    assert process.returncode != 0 and "--batch: expected a multiple of the 2 processes, got 3" in errors and not (tmp_path / "o").exists()


def test_without_torchrun_a_process_is_alone():
    with processes() as group:
        assert type(group) is Alone and group.share(5) == (0, 5) and group.any(False, True) == (False, True) and group.mean(0.1) == 0.1
        values, own = group.gathered(torch.arange(3))
        assert values[own].tolist() == [0, 1, 2]


COLLECTIVES = """
import gc, weakref
import torch
from svconv.training.distributed import processes
with processes() as group:
    r = group.rank
    assert group.count == 2 and group.share(6) == (3 * r, 3)
    assert group.any(r == 1, False, True) == (True, False, True) and abs(group.mean(r + 1.0) - 1.5) < 1e-12
    values, own = group.gathered(torch.tensor([10.0 * r, 10 * r + 1]))
    assert values.tolist() == [0, 1, 10, 11] and values[own].tolist() == [10 * r, 10 * r + 1]
    a, b, whole = torch.full((2, 3), float(r)), torch.tensor(4.0 * r), torch.tensor(r)
    group.average([a, b, whole])
    assert bool((a == 0.5).all()) and b == 2 and whole == r
    torch.manual_seed(r)
    layer = torch.nn.BatchNorm2d(3)
    torch.nn.init.normal_(layer.weight)
    layer.running_mean.fill_(r)
    group.align(layer)
    torch.manual_seed(0)
    assert torch.equal(layer.weight, torch.randn(3)) and not bool(layer.running_mean.any())
    assert group.device(torch.device("cpu")).type == "cpu"
    torch.optim.Adam(layer.parameters())
    joined = weakref.ref(torch.distributed.distributed_c10d._get_default_group())
gc.collect()
assert joined() is None     # or one of its threads might abort the interpreter at its end
"""


def test_what_processes_do_together(tmp_path):
    (tmp_path / "together.py").write_text(COLLECTIVES)
    environment = dict(os.environ, PYTHONPATH=os.path.dirname(os.path.dirname(svconv.__file__)), OMP_NUM_THREADS="1")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(tmp_path / "together.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert issubclass(Processes, Alone)
