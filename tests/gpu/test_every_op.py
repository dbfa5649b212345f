"""What must hold for every op on a GPU: registration, one compilation, gradients of both orders, graphs, streams, tf32."""
import pytest
import torch

import gpu_calls
from oracles import close

pytestmark = pytest.mark.gpu
EVERY = pytest.mark.parametrize("call, backend", [pytest.param(call, backend, id=name) for name, call, backend in gpu_calls.calls()])
ONCE = pytest.mark.parametrize("call", [pytest.param(call, id=call.name) for call in {call.name: call for _, call, _ in
                                                                                      gpu_calls.calls()}.values()])


def on_gpu(call, dtype=torch.float32, **shape):
    return [t.requires_grad_() for t in gpu_calls.on_gpu(call.tensors(dtype, **shape))]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("op, arguments", [pytest.param(op, arguments, id=f"{op.overload.name().split('::')[1]}-{i}")
                                           for i, (op, arguments) in enumerate(gpu_calls.registered())])
def test_opcheck(op, arguments, layout):
    def moved(t):
        t = t.contiguous(memory_format=layout) if t.dim() == 4 else t
        return t.cuda().detach().requires_grad_()
    torch.library.opcheck(op.overload, [moved(a) if isinstance(a, torch.Tensor) else a for a in arguments])


@ONCE
def test_compiles_once_forward_and_backward(call):
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")

    def loss(*tensors):
        return call.run(*tensors, padding=gpu_calls.padding_of(call), backend=None).square().sum()

    compiled = torch.compile(loss, fullgraph=True, backend=counter)
    for seed in (1, 2):
        tensors = on_gpu(call, torch.float64, hw=(6, 8), seed=seed)
        expected, actual = (torch.autograd.grad(f(*tensors), tensors) for f in (loss, compiled))
        assert all(torch.allclose(a, e) for a, e in zip(actual, expected, strict=True))
    assert counter.frame_count == 1


@EVERY
def test_gradients_of_first_and_second_order(call, backend):
    def run(*t):
        return call.run(*t, padding=gpu_calls.padding_of(call), backend=backend)

    tensors = on_gpu(call, torch.float64, b=1, c=1, hw=(3, 5))
    assert torch.autograd.gradcheck(run, tensors, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, call.twice(tensors), fast_mode=True)


@EVERY
def test_two_streams_at_the_same_time(call, backend):
    padding = gpu_calls.padding_of(call)
    inputs = [[t.detach() for t in on_gpu(call, hw=(40, 50), seed=seed)] for seed in (1, 2)]
    expected = [call.run(*given, padding=padding, backend=backend) for given in inputs]
    streams = [torch.cuda.Stream() for _ in inputs]
    torch.cuda.synchronize()
    results = [[], []]
    for _ in range(3):
        for stream, given, found in zip(streams, inputs, results, strict=True):
            with torch.cuda.stream(stream):
                torch.cuda._sleep(1_000_000)
                found.append(call.run(*given, padding=padding, backend=backend))
    torch.cuda.synchronize()
    assert all(torch.equal(one, e) for found, e in zip(results, expected, strict=True) for one in found)


@EVERY
def test_allowing_tf32_changes_no_bit(call, backend):
    padding, given = gpu_calls.padding_of(call), [t.detach() for t in on_gpu(call, hw=(40, 50))]
    before, results = torch.get_float32_matmul_precision(), []
    try:
        for precision in ("highest", "high"):
            torch.set_float32_matmul_precision(precision)
            results.append(call.run(*given, padding=padding, backend=backend))
    finally:
        torch.set_float32_matmul_precision(before)
    assert torch.equal(*results)
    close(results[1], call.run(*(t.double().cpu() for t in given), padding=padding, backend="reference"), scale=10 * call.scale)
