"""The forms in which a MAP step is solved, stencils for filters and half spectra for planes, against the plain ones."""
import pytest
import torch

from scenes import blur_kernel
from svconv import backends, use_backend
from svconv._fourier import kernel_spectrum
from svconv.ops import pixel_filter_stencil
from svconv.ops.pixel_filter_stencil import GramStencil, pays
from svconv.solvers import map_filters, map_problem
from svconv.solvers.map_preconditioner import HalfSpectra, circulant_inverse, mean_autocorrelation
from svconv.solvers.map_problem import MAPProblem, StepFilters

F64 = torch.float64
compiled = pytest.mark.skipif(backends.why_not("cpu", "pixel_filter", "pixel_filter_stencil", "cpu") is not None,
                              reason="the compiled kernels are absent or not to be used")


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def problem(h=20, w=23, batch=2, channels=3, maps=(3, 5)):
    y = numbers(batch, channels, h, w).abs()
    data, prior = (0.3 * numbers(batch, channels, m, 5, 5, h, w, seed=m) for m in maps)
    return y, blur_kernel(dtype=F64), data, prior


@compiled
@pytest.mark.parametrize("weighted", [False, True])
def test_stencils_change_rounding_only(monkeypatch, weighted):
    y, k, data, prior = problem()
    weights = {"data_weights": numbers(2, 1, 3, 20, 23).abs(), "prior_weights": numbers(1, 3, 5, 20, 23).abs()} if weighted else {}
    made = []

    class Noted(GramStencil):
        def __init__(self, filters, **options):
            made.append(filters.shape[2])
            super().__init__(filters, **options)

    def solved():
        tensors = [t.clone().requires_grad_() for t in (y, k, data, prior)]
        found = map_filters(*tensors, tol=1e-11, max_iter=400, **weights)
        return found.x.detach(), *torch.autograd.grad(found.x.square().sum(), tensors)

    monkeypatch.setattr(map_problem, "GramStencil", Noted)
    stencils = solved()
    assert sorted(made) == [3, 3, 5, 5]             # once for the solve, once for the adjoint solve
    monkeypatch.setattr(pixel_filter_stencil, "LEAST_APPLICATIONS", 10**9)
    for found, expected in zip(stencils, solved()):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-7 * float(expected.abs().max()))
    assert len(made) == 4


@compiled
def test_when_a_stencil_pays():
    filters = torch.zeros(1, 1, 5, 5, 5, 4, 4)
    assert not pays(filters, 30)                    # a gradient may be wanted
    with torch.no_grad():
        assert pays(filters, 30) and not pays(filters, 3)
        assert not pays(filters[:, :, :1], 30)      # 25 values against 41
        assert pays(filters.bfloat16(), 30) and not pays(filters[:, :, :3].bfloat16(), 30)
        with use_backend("reference"):
            assert not pays(filters, 30)
        assert not any(torch.vmap(lambda f: torch.zeros(()) + pays(f, 30))(filters[None]).tolist())


@pytest.mark.parametrize("size", [(8, 9), (9, 8), (1, 1), (2, 1), (5, 2)], ids=str)
def test_half_spectra_keep_inner_products(size):
    spectra = HalfSpectra(size, torch.ones(size[0], size[1] // 2 + 1, dtype=F64))
    u, v = numbers(2, 3, *size), numbers(2, 3, *size, seed=1)
    a, b = spectra.enter(u), spectra.enter(v)
    torch.testing.assert_close((a * b).sum((-3, -2, -1)), (u * v).sum((-2, -1)), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(spectra.leave(a), u, rtol=1e-12, atol=1e-12)


def test_the_operator_and_the_preconditioner_on_half_spectra():
    y, k, data, prior = problem()
    mask = (numbers(2, 1, 20, 23) > -1).to(F64)
    here = MAPProblem(y, k, mask)
    tensors, bind = here.terms(StepFilters(data, prior), 0)
    step, size = bind(tensors), here.plane.size
    inverse = circulant_inverse(here.op.spectrum, size, data, prior)
    spectra, x = HalfSpectra(size, inverse), numbers(2, 3, *size, seed=9)
    torch.testing.assert_close(spectra.leave(spectra.operator(step)(spectra.enter(x))), step(x), rtol=0, atol=1e-11)
    power = kernel_spectrum(mean_autocorrelation(prior), size, (4.0, 4.0)).real
    assert bool((inverse * power <= 1 + 1e-9).all())
    expected = torch.fft.irfft2(torch.fft.rfft2(x) * inverse, s=size)
    torch.testing.assert_close(spectra.leave(spectra.preconditioner(spectra.enter(x))), expected, rtol=0, atol=1e-9 * float(inverse.amax()))


def test_the_callback_sees_planes():
    y, k, data, prior = problem(batch=1, channels=1)
    seen = []
    found = map_filters(y, k, data, prior, max_iter=5, tol=0, callback=lambda step, steps, x: seen.append(x))
    assert len(seen) == 5 and all(x.shape == y.shape for x in seen)
    torch.testing.assert_close(seen[-1], found.x, rtol=0, atol=1e-12)
