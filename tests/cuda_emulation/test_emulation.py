"""Does the emulation look? Kernels with one fault each must be found, by the mode that is there for it, and one without must pass."""
import pytest
import torch

from cuda_emulation.emulator import HERE, ORDERS, Emulator, Finding
from svconv.backends.cuda.launch import Launch

FAULTS = ("kNone", "kNoBarrier", "kPastShared", "kPastBuffer", "kOneAddress", "kEarlyReturn", "kOverflow")
THREADS = 32


def name(fault):
    return f"faults::sums<faults::{fault}>"


@pytest.fixture(scope="module")
def emulators(emulation_workplace):
    return {mode: Emulator(HERE / "faults.cuh", map(name, FAULTS), mode, emulation_workplace) for mode in ("plain", "sanitized", "threads")}


def run(emulator, fault, order="ascending", n=2 * THREADS, shared=4 * THREADS):
    x, y = torch.arange(float(n)), torch.full((n,), float("nan"))
    emulator.run(Launch("faults.cuh", name(fault), -(-n // THREADS), THREADS, (x, y, n), shared), order)
    return y


def expected(n):
    blocks = torch.arange(float(n)).split(THREADS)
    return torch.cat([block.sum().expand(len(block)) for block in blocks])


@pytest.mark.parametrize("mode", ["plain", "sanitized", "threads"])
def test_a_kernel_without_fault_passes(emulators, mode):
    for order in ORDERS if mode != "threads" else ORDERS[:1]:
        for n in (2 * THREADS, 2 * THREADS - 3):
            assert torch.equal(run(emulators[mode], "kNone", order, n), expected(n))


def test_a_missing_barrier_changes_the_result_and_is_a_race(emulators):
    results = [run(emulators["plain"], "kNoBarrier", order) for order in ORDERS]
    assert not results[0].equal(results[1]) and results[0].isnan().any()
    with pytest.raises(Finding, match="data race"):
        run(emulators["threads"], "kNoBarrier")


def test_two_threads_that_write_one_address(emulators):
    results = [run(emulators["plain"], "kOneAddress", order)[:2] for order in ORDERS]
    assert not results[0].equal(results[1])
    with pytest.raises(Finding, match="data race"):
        run(emulators["threads"], "kOneAddress")


@pytest.mark.parametrize("fault, n, message", [("kPastShared", 64, "heap-buffer-overflow"), ("kPastBuffer", 61, "heap-buffer-overflow"),
                                               ("kOverflow", 64, "signed integer overflow")])
def test_sanitizers_find(emulators, fault, n, message):
    with pytest.raises(Finding, match=message):
        run(emulators["sanitized"], fault, n=n)


def test_too_little_shared_memory(emulators):
    with pytest.raises(Finding, match="heap-buffer-overflow"):
        run(emulators["sanitized"], "kNone", shared=4 * THREADS - 4)


@pytest.mark.parametrize("mode", ["plain", "sanitized"])
def test_a_thread_that_misses_a_barrier(emulators, mode):
    with pytest.raises(Finding, match="ended while others wait"):
        run(emulators[mode], "kEarlyReturn", n=61)


def test_a_kernel_that_was_not_built_and_one_with_other_arguments(emulators):
    with pytest.raises(Finding, match="no kernel faults::other"):
        emulators["plain"].run(Launch("faults.cuh", "faults::other", 1, 1, ()))
    with pytest.raises(Finding, match="another number of arguments"):
        emulators["plain"].run(Launch("faults.cuh", name("kNone"), 1, 1, (1,)))


def test_elements_of_a_long_storage(emulators):
    """Of a view with a stride of 100 MB only its elements travel."""
    x = torch.empty(2 * 25_000_000 + 1)[::25_000_000].copy_(torch.tensor([1.0, 2.0, 3.0]))
    y = torch.full((3,), float("nan"))
    emulators["plain"].run(Launch("faults.cuh", name("kNone"), 1, THREADS, (x, y, 1), 4 * THREADS))
    assert torch.equal(y[:1], x[:1]) and y[1:].isnan().all() and x.tolist() == [1.0, 2.0, 3.0]
