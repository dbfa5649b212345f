"""Gradients in the memory of earlier ones: the same bits, nothing held is written over, nothing unused is kept for long."""
import gc
import threading

import pytest
import torch

import svconv
from svconv.backends import why_not
from svconv.backends.cpu.gradient_memory import new_gradient

pytestmark = pytest.mark.skipif(bool(why_not("cpu", "pixel_filter", "pixel_filter_fwd", "cpu")), reason="svconv._C is not built")


def problem(side=96, dtype=torch.float32):
    generator = torch.Generator().manual_seed(side)
    x = torch.rand(1, 2, side, side, generator=generator).to(dtype)
    return x, torch.rand(1, 2, 2, 5, 5, side, side, generator=generator).to(dtype)


def gradient(x, filters, op=svconv.pixel_filter, weight=1.0):
    filters = filters.detach().requires_grad_()
    return torch.autograd.grad((weight * op(x, filters)).sum(), filters)[0]


@pytest.mark.parametrize("op", [svconv.pixel_filter, svconv.pixel_filter_gram])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_the_same_bits_in_the_same_memory(op, dtype):
    x, filters = problem(dtype=dtype)
    expected, memory, places = gradient(x, filters, op), svconv.GradientMemory(), set()
    for _ in range(3):
        with memory:
            found = gradient(x, filters, op)
        assert torch.equal(found, expected) and found.dtype == dtype and found.is_contiguous() and not found._is_view()
        places.add(found.data_ptr())
        del found
    assert len(places) == 1


def test_what_is_held_is_not_written_over():
    x, filters = problem()
    memory, held = svconv.GradientMemory(), []
    with memory:
        for weight in (1.0, 2.0, 3.0):
            held.append(gradient(x, filters, weight=weight))
    one = gradient(x, filters)
    assert all(torch.equal(g, weight * one) for g, weight in zip(held, (1.0, 2.0, 3.0)))
    view = held.pop()[..., :1, :1]      # a view holds the whole
    with memory:
        gradient(x, filters, weight=5.0)
    assert torch.equal(view, 3.0 * one[..., :1, :1])


def test_gradients_outlive_the_memory_and_its_block():
    x, filters = problem()
    with svconv.GradientMemory():
        found = gradient(x, filters)
    gc.collect()
    torch.full((found.numel(),), torch.nan)
    assert torch.equal(found, gradient(x, filters))


def test_a_leaf_accumulates_and_starts_anew():
    x, filters = problem()
    filters.requires_grad_()
    one, memory = gradient(x, filters), svconv.GradientMemory()
    for _ in range(2):
        with memory:
            svconv.pixel_filter(x, filters).sum().backward()
            svconv.pixel_filter(x, filters).sum().backward()
        assert torch.equal(filters.grad, 2 * one)
        filters.grad = None


def test_what_is_kept_is_what_lived_at_one_time():
    memory = svconv.GradientMemory()
    kept = lambda: sorted(block.numel() for block in memory._free)  # noqa: E731
    with memory:
        for megabytes in (1, 3, 2, 3):
            new_gradient((megabytes, 1 << 18), torch.float32)
        assert kept() == [3 << 20]          # the smaller block went as a larger one was needed
        pair = [new_gradient((2, 1 << 18), torch.float32) for _ in range(2)]
        assert kept() == []
        del pair
        assert kept() == [2 << 20, 3 << 20]
        new_gradient((7, 100), torch.float32)
        assert kept() == [2 << 20, 3 << 20]
    memory.clear()
    assert kept() == []


def test_only_inside_of_the_block_and_only_in_its_thread():
    memory, outer = svconv.GradientMemory(), svconv.GradientMemory()
    shape = (1, 1 << 18)
    with outer:
        with memory, memory:
            new_gradient(shape, torch.float32)
        new_gradient(shape, torch.float32)
        other = threading.Thread(target=lambda: new_gradient((2, 1 << 18), torch.float32))
        other.start()
        other.join()
    new_gradient((2, 1 << 18), torch.float32)
    assert [len(m._free) for m in (memory, outer)] == [1, 1] and {m._free[0].numel() for m in (memory, outer)} == {1 << 20}


def test_many_threads_share_one():
    x, filters = problem()
    expected, memory, wrong = gradient(x, filters), svconv.GradientMemory(), []

    def work():
        for weight in (1.0, 2.0, 4.0) * 5:
            with memory:
                found = gradient(x, filters, weight=weight)
            if not torch.equal(found, weight * expected):
                wrong.append(weight)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and len(memory._free) <= 8      # each thread holds a gradient while it makes the next
