"""Every op and its backward pass on a few pixels of odd shapes: few enough for compute-sanitizer (bench/gpu.py runs these under it)."""
import pytest
import torch

import gpu_calls
from oracles import close

pytestmark = pytest.mark.gpu
CALLS = gpu_calls.calls()


@pytest.mark.parametrize("call, backend", [pytest.param(call, backend, id=name) for name, call, backend in CALLS])
def test_values_and_gradients(call, backend, nan_memory):
    padding = gpu_calls.padding_of(call)
    tensors = [t.requires_grad_() for t in call.tensors(torch.float32, b=1, c=2, hw=(5, 7))]
    exact = [t.detach().double().requires_grad_() for t in tensors]
    y = call.run(*gpu_calls.on_gpu(tensors), padding=padding, backend=backend)
    expected = call.run(*exact, padding=padding, backend="reference")
    close(y.detach(), expected.detach(), scale=10 * call.scale)
    upstream = torch.randn(y.shape)
    actual = torch.autograd.grad((y * upstream.cuda()).sum(), tensors)
    for a, e in zip(actual, torch.autograd.grad((expected * upstream).sum(), exact), strict=True):
        close(a, e, scale=100 * call.scale)
