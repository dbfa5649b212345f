"""Ops in a CUDA graph: replayed with other numbers in the same memory they give what a call gives."""
import pytest
import torch

import oracles
import svconv
from oracles import image, psf

pytestmark = pytest.mark.gpu
GRID = svconv.EFFGrid((40, 50), (2, 3))
SIZE, TAPS = (40, 50), (5, 4)


def filters(seed):
    return torch.randn(1, 1, 2, *TAPS, *SIZE, generator=torch.Generator().manual_seed(seed))


def maps(seed):
    return torch.randn(2, 3, 2, *SIZE, generator=torch.Generator().manual_seed(seed))


def radii(seed):
    return 5 * torch.rand(1, 1, *SIZE, generator=torch.Generator().manual_seed(seed))


def picture(seed):
    return image(2, 3, *SIZE, dtype=torch.float32, seed=seed)


def kernel(seed):
    return psf(1, 3, *TAPS, dtype=torch.float32, seed=seed)


def kernels(seed):
    return psf(1, 1, GRID.patches, *TAPS, dtype=torch.float32, seed=seed)


# name: stem, its inputs, the call; where a map decides how far a kernel reaches, the largest value is given, so that nobody has to look
OPS = {
    "pixel_filter": ("pixel_filter", (picture, filters), lambda x, f, **b: svconv.pixel_filter(x, f, padding="reflect", **b)),
    "pixel_filter_adjoint": ("pixel_filter", (maps, filters), lambda y, f, **b: svconv.pixel_filter_adjoint(y, f, padding="reflect", **b)),
    "pixel_filter_gram": ("pixel_filter", (picture, filters), lambda x, f, **b: svconv.pixel_filter_gram(x, f, padding="circular", **b)),
    "disk_blur": ("disk", (picture, radii), lambda x, r, **b: svconv.disk_blur(x, r, max_radius=5.0, **b)),
    "disk_blur scatter": ("disk", (picture, radii), lambda x, r, **b: svconv.disk_blur(x, r, form="scatter", max_radius=5.0, **b)),
    "disk_blur_adjoint": ("disk", (picture, radii), lambda x, r, **b: svconv.disk_blur_adjoint(x, r, max_radius=5.0, **b)),
    "gaussian_blur": ("gaussian", (picture, radii), lambda x, s, **b: svconv.gaussian_blur(x, s, max_sigma=2.0, **b)),
    "gaussian_blur_adjoint": ("gaussian", (picture, radii), lambda x, s, **b: svconv.gaussian_blur_adjoint(x, s, max_sigma=2.0, **b)),
    "conv": ("quotient", (picture, kernel), lambda x, k, **b: svconv.conv(x, k, padding="replicate", **b)),
    "conv_adjoint": ("quotient", (picture, kernel), lambda x, k, **b: svconv.conv_adjoint(x, k, padding="zeros", **b)),
    "image_quotient": ("quotient", (picture, kernel), lambda y, k, **b: svconv.image_quotient(y, k, beta=0.1, **b)),
    "kernel_quotient": ("quotient", (picture, picture), lambda x, y, **b: svconv.kernel_quotient(x, y, TAPS, beta=1.0, **b)),
    "eff_conv": ("eff", (picture, kernels), lambda x, k, **b: svconv.eff_conv(x, k, GRID, **b)),
    "eff_conv_adjoint": ("eff", (picture, kernels), lambda x, k, **b: svconv.eff_conv_adjoint(x, k, GRID, **b)),
    "eff_kernel_adjoint": ("eff", (picture, picture), lambda x, y, **b: svconv.eff_kernel_adjoint(x, y, GRID, TAPS, **b)),
    "eff_image_quotient": ("eff", (picture, kernels), lambda y, k, **b: svconv.eff_image_quotient(y, k, GRID, beta=0.1, **b)),
    "eff_kernel_quotient": ("eff", (picture, picture), lambda x, y, **b: svconv.eff_kernel_quotient(x, y, GRID, TAPS, beta=1.0, **b)),
}
FIRST = {"pixel_filter": "pixel_filter_fwd", "disk": "disk_blur_fwd", "gaussian": "gaussian_blur_fwd", "quotient": "conv_fwd",
         "eff": "eff_fwd"}


def backends(stem):
    """Backends with kernels of their own; without a GPU a name that stands in while the tests are collected."""
    if not torch.cuda.is_available():
        return ["triton"]
    return [name for name in oracles.usable_backends(stem, FIRST[stem], "cuda") if name != "reference"]


CASES = [pytest.param(name, backend, id=f"{name}-{backend}") for name, (stem, _, _) in OPS.items() for backend in backends(stem)]


def made(makers, seed):
    return [make(seed + i).cuda() for i, make in enumerate(makers)]


def captured(run, given):
    """(graph, its result) of run(*given), after a few calls on another stream, as CUDA asks for."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(2):
            run(*given)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = run(*given)
    return graph, result


@pytest.mark.parametrize("name, backend", CASES)
def test_a_replay_is_a_call(name, backend):
    _, makers, run = OPS[name]

    def call(*given):
        with torch.no_grad():
            return run(*given, backend=backend)

    given, other = made(makers, 0), made(makers, 10)
    graph, result = captured(call, given)
    for tensor, value in zip(given, other, strict=True):
        tensor.copy_(value)
    result.fill_(float("nan"))
    graph.replay()
    assert torch.equal(result, call(*other))


@pytest.mark.parametrize("name, backend", CASES)
def test_a_replayed_step_has_the_gradients_of_a_step(name, backend):
    _, makers, run = OPS[name]

    def step(*given):
        return torch.autograd.grad(run(*given, backend=backend).square().sum(), given)

    given, other = ([t.requires_grad_() for t in made(makers, seed)] for seed in (0, 10))
    graph, result = captured(step, given)
    with torch.no_grad():
        for tensor, value in zip(given, other, strict=True):
            tensor.copy_(value)
    graph.replay()
    for actual, expected in zip(result, step(*other), strict=True):
        assert torch.allclose(actual, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))
