"""map_filters: against a dense solve, borders, masks, starts, precisions, trouble and messages."""
import pytest
import torch

from map_oracle import dense
from scenes import blur_kernel, picture
from svconv import conv
from svconv.solvers import map_filters

F64 = torch.float64
EXACT = {"tol": 1e-11, "max_iter": 3000}
DIFFERENCES = torch.tensor([[[0, 0, 0], [0, -1, 1], [0, 0, 0]], [[0, 0, 0], [0, -1, 0], [0, 1, 0]]], dtype=F64)


def filters(many, side, height=8, width=8, batch=1, channels=1):
    return torch.randn(batch, channels, many, side, side, height, width, dtype=F64)


def prior(height, width, dtype=F64, strength=0.05):
    """Uniform differences in both directions, [1, 1, 2, 3, 3, H, W], as a view."""
    return (strength * DIFFERENCES).to(dtype)[None, None, :, :, :, None, None].expand(1, 1, 2, 3, 3, height, width)


def positive(*shape):
    return torch.rand(*shape, dtype=F64) + 0.1


def some(*shape):
    return (torch.rand(*shape) > 0.2).to(F64)


DELTA = torch.zeros(1, 1, 3, 3, dtype=F64)
DELTA[..., 1, 1] = 1
CASES = {
    "plain": dict,
    "mask": lambda: {"mask": some(1, 1, 8, 8)},
    "mask of weights per channel": lambda: {"y": positive(2, 2, 8, 8), "mask": some(2, 2, 8, 8) * positive(2, 2, 8, 8)},
    "weights": lambda: {"data_weights": positive(1, 1, 3, 8, 8), "prior_weights": positive(1, 1, 4, 8, 8)},
    "no data filters": lambda: {"data_filters": None, "prior_weights": positive(1, 1, 4, 8, 8)},
    "one set for all": lambda: {"y": positive(2, 3, 8, 8)},
    "a kernel per channel": lambda: {"y": positive(1, 3, 8, 8), "kernel": positive(1, 3, 3, 3) / 9},
    "a kernel per sample": lambda: {"y": positive(2, 2, 8, 8), "kernel": positive(2, 3, 3) / 9},
    "filters per sample and channel": lambda: {"y": positive(2, 2, 8, 8), "data_filters": filters(2, 3, batch=2, channels=2),
                                               "prior_filters": filters(3, 3, batch=2, channels=2)},
    "even kernel": lambda: {"kernel": positive(1, 1, 4, 2) / 8},
    "long kernel": lambda: {"kernel": positive(1, 1, 1, 7) / 7},
    "unnormalised kernel": lambda: {"kernel": positive(1, 1, 3, 3) * 2},
    "kernel larger than the image": lambda: {"kernel": positive(1, 1, 11, 9) / 99},
    "delta": lambda: {"kernel": DELTA},
    "one pixel": lambda: {"kernel": torch.ones(1, 1, 1, 1, dtype=F64)},
    "even filters": lambda: {"data_filters": filters(2, 2), "prior_filters": filters(3, 4)},
    "primes": lambda: {"y": positive(1, 1, 7, 11), "data_filters": filters(3, 5, 7, 11), "prior_filters": filters(4, 3, 7, 11)},
    "an image of one row": lambda: {"y": positive(1, 1, 1, 9), "data_filters": filters(3, 3, 1, 9), "prior_filters": filters(4, 3, 1, 9)},
}


@pytest.mark.parametrize("name", list(CASES))
def test_it_is_a_dense_solve(name):
    given = {"y": positive(1, 1, 8, 8), "kernel": positive(1, 1, 3, 3) / 9, "data_filters": filters(3, 5), "prior_filters": filters(4, 3),
             **CASES[name]()}
    result = map_filters(**given, **EXACT)
    expected = dense(size=tuple(result.extended.shape[-2:]), **given)
    torch.testing.assert_close(result.extended, expected, rtol=0, atol=1e-7 * float(expected.abs().max()))
    kernel = given["kernel"] if given["kernel"].dim() == 4 else given["kernel"].unsqueeze(1)
    top, left = (n - 1 - n // 2 for n in kernel.shape[-2:])
    height, width = given["y"].shape[-2:]
    assert torch.equal(result.x, result.extended[..., top:top + height, left:left + width]) and result.x.is_contiguous()
    assert result.converged.all() and bool((result.residuals <= 1e-11).all()) and result.iterations.shape == given["y"].shape[:1]


def test_the_misfit_is_what_the_blur_leaves():
    y, mask = positive(1, 2, 9, 10), some(1, 1, 9, 10)
    result = map_filters(y, blur_kernel(3, dtype=F64), None, prior(9, 10), mask=mask, max_iter=5)
    blurred = conv(result.extended, blur_kernel(3, dtype=F64), padding="circular")
    assert result.misfit.shape == y.shape and bool((result.misfit[mask.expand_as(y) == 0] == 0).all())
    torch.testing.assert_close(result.misfit, mask * (y - blurred[..., 1:10, 1:11]))


def test_uniform_filters_may_be_views():
    y, k = positive(1, 2, 12, 13), blur_kernel(dtype=F64)
    data = torch.randn(1, 1, 2, 3, 3, 1, 1, dtype=F64).expand(1, 1, 2, 3, 3, 12, 13)
    weights = {"data_weights": positive(1, 1, 2, 12, 13), "prior_weights": torch.tensor(0.5, dtype=F64).expand(1, 1, 2, 12, 13)}
    views = map_filters(y, k, data, prior(12, 13), **weights, **EXACT)
    full = map_filters(y, k, data.contiguous(), prior(12, 13).contiguous(), **{n: w.contiguous() for n, w in weights.items()}, **EXACT)
    torch.testing.assert_close(views.extended, full.extended, rtol=0, atol=1e-9)


def test_it_deblurs():
    truth, k = picture(dtype=F64), blur_kernel(dtype=F64)
    y = conv(truth, k, padding="replicate")
    result = map_filters(y, k, None, prior(40, 44, strength=0.02), max_iter=200)
    assert (result.x - truth).square().mean() < 0.3 * (y - truth).square().mean()


def test_a_constant_image_stays_one():
    y = torch.full((1, 1, 10, 11), 0.4, dtype=F64)
    result = map_filters(y, blur_kernel(dtype=F64), None, prior(10, 11), **EXACT)
    torch.testing.assert_close(result.extended, torch.full_like(result.extended, 0.4))
    torch.testing.assert_close(result.misfit, torch.zeros_like(y))


def test_each_sample_and_channel_stops_by_itself():
    """After few enough steps that they do not amplify rounding."""
    k, g, y = blur_kernel(dtype=F64), filters(2, 3, 14, 15, batch=3), positive(3, 2, 14, 15)
    g[1] *= 0.05
    options = {"tol": 0.03, "max_iter": 80}
    together = map_filters(y, k, None, g, **options)
    assert len(set(together.iterations.tolist())) > 1 and together.report.iterations.shape == (3, 2)
    for i in range(3):
        alone = map_filters(y[i:i + 1], k, None, g[i:i + 1], **options)
        assert alone.iterations.tolist() == [together.iterations[i].item()]
        torch.testing.assert_close(alone.x[0], together.x[i], rtol=0, atol=1e-8)
        for c in range(2):
            one = map_filters(y[i:i + 1, c:c + 1], k, None, g[i:i + 1], **options)
            torch.testing.assert_close(one.x[0, 0], together.x[i, c], rtol=0, atol=1e-8)


# starts and reports -------------------------------------------------------------------------------------------------

def test_starts():
    y, k, g = positive(1, 2, 12, 13), blur_kernel(dtype=F64), filters(2, 3, 12, 13)
    exact = map_filters(y, k, None, g, **EXACT)
    again = map_filters(y, k, None, g, x0=exact.extended, tol=1e-9)
    assert again.iterations.tolist() == [0] and torch.equal(again.extended, exact.extended)
    for x0 in (exact.x, torch.zeros_like(y), torch.rand_like(y)):
        torch.testing.assert_close(map_filters(y, k, None, g, x0=x0, **EXACT).extended, exact.extended, rtol=0, atol=1e-6)
    from_y, default = (map_filters(y, k, None, g, x0=x0, max_iter=3).extended for x0 in (y, None))
    assert torch.equal(from_y, default)
    assert map_filters(y, k, None, g, x0=torch.zeros_like(y), max_iter=0).x.abs().max() == 0


def test_filters_that_are_zero_leave_the_start():
    y, k = positive(1, 2, 12, 13), blur_kernel(dtype=F64)
    nothing = torch.zeros(1, 1, 2, 3, 3, 12, 13, dtype=F64)
    for x0 in (None, torch.rand_like(y)):
        result = map_filters(y, k, nothing, nothing, x0=x0)
        torch.testing.assert_close(result.x, y if x0 is None else x0)
        assert result.extended.isfinite().all()
    alone = map_filters(y, k, None, nothing, max_iter=50)       # the blur alone: semidefinite on the plane
    assert alone.extended.isfinite().all() and alone.misfit.norm() < 0.1 * y.norm()
    assert map_filters(y, k, nothing, prior(12, 13), max_iter=200).extended.isfinite().all()


def test_not_converging_is_reported():
    f = filters(2, 3, 12, 13)
    result = map_filters(positive(1, 1, 12, 13), blur_kernel(dtype=F64), f, f, tol=1e-9, max_iter=2)
    assert result.converged.tolist() == [False] and result.iterations.tolist() == [2] and bool((result.residuals > 1e-9).all())
    assert result.report.history.shape == (3, 1, 1)


@pytest.mark.parametrize("moves, implicit", [(False, True), (True, True), (True, False)])
def test_callback_sees_every_step_of_the_image(moves, implicit):
    seen = []
    y = positive(2, 1, 12, 13).requires_grad_(moves)
    result = map_filters(y, blur_kernel(dtype=F64), None, filters(2, 3, 12, 13), max_iter=40, implicit=implicit,
                         callback=lambda step, steps, x: seen.append((step, steps, x.clone())))
    assert [step for step, _, _ in seen] == list(range(1, int(result.iterations.max()) + 1)) and {steps for _, steps, _ in seen} == {40}
    assert not any(x.requires_grad for _, _, x in seen)
    torch.testing.assert_close(seen[-1][2], result.x.detach())


# precisions, bad pixels -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype, bound", [(torch.float32, 1e-4), (torch.bfloat16, 0.1), (torch.float16, 0.02)])
def test_every_precision(dtype, bound):
    y, k, f, g = positive(1, 2, 12, 13), blur_kernel(dtype=F64), filters(2, 3, 12, 13), filters(3, 3, 12, 13)
    v = positive(1, 1, 2, 12, 13)
    exact = map_filters(y, k, f, g, data_weights=v, **EXACT)
    result = map_filters(*(t.to(dtype) for t in (y, k, f, g)), data_weights=v.to(dtype), tol=1e-6, max_iter=1000)
    assert result.x.dtype == dtype and result.residuals.dtype == torch.float32
    assert (result.x.double() - exact.x).norm() < bound * exact.x.norm()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_filters_beside_a_float32_image(dtype):
    y, k = positive(1, 2, 12, 13).float(), blur_kernel()
    f, g = filters(2, 3, 12, 13).to(dtype), filters(3, 3, 12, 13).to(dtype)
    v = positive(1, 1, 2, 12, 13).float()
    for max_iter in (8, 1000):      # by the filters, and by stencils of them
        result = map_filters(y, k, f, g, data_weights=v, tol=1e-6, max_iter=max_iter)
        same = map_filters(y, k, f.float(), g.float(), data_weights=v, tol=1e-6, max_iter=max_iter)
        assert result.x.dtype == torch.float32
        torch.testing.assert_close(result.x, same.x, rtol=0, atol=1e-4)


def test_a_mask_leaves_bad_pixels_out():
    y, k, f, g = positive(1, 2, 12, 13), blur_kernel(dtype=F64), filters(2, 3, 12, 13), filters(2, 3, 12, 13)
    mask = torch.ones(1, 1, 12, 13, dtype=F64)
    mask[..., 4:6, 7:9] = 0
    broken = torch.where(mask > 0, y, float("nan"))
    with pytest.raises(ValueError, match="y: expected finite pixels, got 8 .*mask="):
        map_filters(broken, k, f, g)
    result = map_filters(broken, k, f, g, mask=mask.bool(), **EXACT)
    assert result.extended.isfinite().all() and result.misfit.isfinite().all()
    torch.testing.assert_close(result.x, map_filters(torch.where(mask > 0, y, 7.0), k, f, g, mask=mask, **EXACT).x, rtol=0, atol=1e-7)


def test_an_empty_batch():
    result = map_filters(torch.rand(0, 2, 8, 8), torch.rand(1, 3, 3), None, torch.rand(1, 1, 2, 3, 3, 8, 8))
    assert result.x.shape == result.misfit.shape == (0, 2, 8, 8) and result.iterations.shape == result.converged.shape == (0,)


MESSAGES = [
    ({"y": torch.rand(8, 8)}, ValueError, r"y: expected \[B, C, H, W\], got \[8, 8\]"),
    ({"y": torch.rand(1, 2, 8, 8).long()}, TypeError, "y: expected dtype float32"),
    ({"kernel": torch.rand(3, 3)}, ValueError, r"kernel: expected \[B\|1, C\|1, kh, kw\] or \[B\|1, kh, kw\], got \[3, 3\]"),
    ({"kernel": torch.rand(1, 3, 3, 3)}, ValueError, "kernel: expected channels of 1 or those of y, = 1 or 2"),
    ({"kernel": torch.zeros(1, 3, 3)}, ValueError, "kernel: expected a PSF that is not zero"),
    ({"kernel": torch.full((1, 3, 3), float("nan"))}, ValueError, "kernel: expected finite values"),
    ({"kernel": torch.rand(1, 3, 3).double()}, TypeError, "kernel: expected dtype torch.float32 like y, got torch.float64"),
    ({"data_filters": torch.rand(1, 1, 2, 3, 3, 8, 9)}, ValueError, "data_filters: expected W of y = 8"),
    ({"data_filters": torch.rand(1, 3, 3, 8, 8)}, ValueError, "data_filters: expected "),
    ({"data_filters": torch.rand(3, 1, 2, 3, 3, 8, 8)}, ValueError, "data_filters: expected a batch of 1 or that of y"),
    ({"prior_filters": torch.rand(1, 1, 2, 3, 3, 9, 8)}, ValueError, "prior_filters: expected H of y = 8"),
    ({"prior_filters": None}, TypeError, "prior_filters: expected a torch.Tensor, got NoneType"),
    ({"prior_filters": torch.rand(1, 1, 2, 3, 3, 8, 8).double()}, TypeError, "prior_filters: expected dtype torch.float32 like y"),
    ({"data_weights": torch.rand(1, 1, 3, 8, 8)}, ValueError, "data_weights: expected M of data_filters = 2"),
    ({"prior_weights": torch.rand(1, 1, 3, 8, 8)}, ValueError, "prior_weights: expected N of prior_filters = 2"),
    ({"prior_weights": torch.rand(1, 1, 2, 8, 8).half()}, TypeError, "prior_weights: expected dtype torch.float32 like y, got"),
    ({"data_filters": None, "data_weights": torch.rand(1, 1, 2, 8, 8)}, ValueError, "data_weights: expected None beside data_filters=None"),
    ({"x0": torch.rand(1, 2, 9, 8)}, ValueError, r"x0: expected \[8, 8\] like y or \[10, 10\] like .extended in the last axes, got"),
    ({"x0": torch.rand(1, 1, 8, 8)}, ValueError, "x0: expected C of y = 2"),
    ({"x0": torch.rand(1, 2, 8, 8).double()}, TypeError, "x0: expected dtype torch.float32 like y, got torch.float64"),
    ({"mask": torch.rand(8, 8)}, ValueError, r"mask: expected \[B\|1, C\|1, H, W\] for y"),
    ({"mask": -torch.ones(1, 1, 8, 8)}, ValueError, "mask: expected weights >= 0"),
    ({"tol": -1}, ValueError, "tol: expected a number >= 0, got -1"),
    ({"max_iter": 2.5}, ValueError, "max_iter: expected an integer >= 0, got 2.5"),
]


@pytest.mark.parametrize("options, error, message", MESSAGES)
def test_messages_name_the_argument(options, error, message):
    given = {"y": torch.rand(1, 2, 8, 8), "kernel": torch.rand(1, 3, 3), "data_filters": torch.rand(1, 1, 2, 3, 3, 8, 8),
             "prior_filters": torch.rand(1, 1, 2, 3, 3, 8, 8), "callback": lambda *_: pytest.fail("something was computed"), **options}
    with pytest.raises(error, match=message):
        map_filters(**given)
