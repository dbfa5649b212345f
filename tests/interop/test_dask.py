"""The eff family on Dask arrays: chunk by chunk the same as on the whole image, in this process and on a local cluster."""

import numpy as np
import pytest
import torch

import svconv
from oracles import PADDINGS
from scenes import picture, psnr
from svconv import EFFBlur, EFFGrid, solvers

da = pytest.importorskip("dask.array")
on_dask = svconv.interop.dask

SIZE, PATCHES = (60, 70), (4, 5)
CHUNKS = ((17, 23, 20), (35, 35))
OPS = [("eff_conv", {}), ("eff_conv", {"form": "gather"}), ("eff_conv_adjoint", {}), ("eff_conv_adjoint", {"form": "gather"}),
       ("eff_image_quotient", {"beta": 0.1})]


def scene(*lead, dtype=np.float64):
    rng = np.random.default_rng(0)
    x, k = rng.random((*lead, *SIZE)).astype(dtype), rng.random((20, 5, 5)).astype(dtype)
    return x, k / k.sum((1, 2), keepdims=True), EFFGrid(SIZE, PATCHES)


def on_whole(name, x, k, grid, **options):
    y = getattr(svconv, name)(torch.from_numpy(x).reshape((1, 1, *x.shape)[-4:]), torch.from_numpy(k)[None], grid, **options)
    return y.reshape(x.shape).numpy()


@pytest.mark.parametrize("name, options", OPS)
@pytest.mark.parametrize("padding", PADDINGS)
def test_chunks_equal_the_whole(name, options, padding):
    x, k, grid = scene(3)
    result = getattr(on_dask, name)(da.from_array(x, chunks=(1, *CHUNKS)), k, grid, padding=padding, **options)
    assert result.chunks[-2:] == CHUNKS and result.shape == x.shape and result.dtype == x.dtype
    expected = on_whole(name, x, k, grid, padding=padding, **options)
    np.testing.assert_allclose(result.compute(scheduler="sync"), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("lead", [(), (2,), (2, 3)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_axes_dtypes_and_kernels_of_every_kind(lead, dtype):
    x, k, grid = scene(*lead, dtype=dtype)
    expected = on_whole("eff_conv", x, k, grid)
    for kernels in (k, torch.from_numpy(k), da.from_array(k, chunks=(7, 5, 5)), k[None], k[None, None]):
        found = on_dask.eff_conv(x, kernels, grid).compute(scheduler="sync")        # also an array that is no Dask array
        assert found.dtype == dtype
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 if dtype == np.float32 else 1e-12)


def test_kernels_of_their_own_for_images_and_colours():
    x, _, grid = scene(2, 3)
    k = np.random.default_rng(1).random((2, 3, 20, 4, 4))
    expected = svconv.eff_conv(torch.from_numpy(x), torch.from_numpy(k), grid)
    found = on_dask.eff_conv(da.from_array(x, chunks=(1, 1, *CHUNKS)), k, grid).compute(scheduler="sync")
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def photograph():
    """A blurred photograph of 144 x 160 with 1 % noise, its kernels and its grid."""
    truth = picture(144, 160)[:, :1].double()
    grid = EFFGrid((144, 160), (3, 3))
    k = torch.rand(1, 9, 5, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    k = k / k.sum((-2, -1), keepdim=True)
    y = svconv.eff_conv(truth, k, grid, padding="replicate")
    return truth, y + 0.01 * torch.randn(y.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64), k, grid


@pytest.mark.parametrize("name, options", [("irls", {"reg": 2e-3}), ("richardson_lucy", {"max_iter": 10})])
@pytest.mark.parametrize("masked", [False, True])
def test_solvers_on_tiles_come_near_to_the_whole(name, options, masked):
    truth, y, k, grid = photograph()
    mask = None
    if masked:
        mask = torch.ones(1, 1, 144, 160, dtype=torch.float64)
        mask[..., 60:64, 70:75] = 0
        y[..., 61, 72] = torch.nan
    whole = getattr(solvers, name)(EFFBlur(k, grid, padding="replicate"), y, mask=mask, border=None, **options).x
    tiled = getattr(on_dask, name)(da.from_array(y[0, 0].numpy(), chunks=(72, 80)), k[0].numpy(), grid, halo=24,
                                   mask=None if mask is None else mask[0, 0].numpy(), **options)
    tiled = torch.from_numpy(tiled.compute(scheduler="sync"))[None, None]
    good = torch.nan_to_num(y)
    assert psnr(whole, truth) > psnr(good, truth) + 1 and abs(psnr(tiled, truth) - psnr(whole, truth)) < 0.1
    # the seams are no worse than the rest
    assert (tiled - whole)[..., 68:76, :].abs().mean() < 0.05 * (whole - good)[..., 68:76, :].abs().mean()


def test_a_local_cluster_of_two_workers_gives_the_same():
    distributed = pytest.importorskip("distributed")
    x, k, grid = scene()
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, distributed.Client(cluster):
        for name, options in OPS:
            found = getattr(on_dask, name)(da.from_array(x, chunks=CHUNKS), k, grid, **options).compute()
            np.testing.assert_allclose(found, on_whole(name, x, k, grid, **options), rtol=0, atol=1e-12)
        tiled = on_dask.richardson_lucy(da.from_array(x, chunks=CHUNKS), k, grid, max_iter=3, halo=8)
        np.testing.assert_allclose(tiled.compute(), tiled.compute(scheduler="sync"), rtol=0, atol=1e-12)


def test_nothing_is_computed_before_it_is_asked_for():
    x, k, grid = scene()
    broken = da.from_array(x, chunks=20).map_blocks(lambda block: 1 / 0, dtype=x.dtype, meta=np.empty((0, 0)))
    for name, options in OPS:
        result = getattr(on_dask, name)(broken, k, grid, **options)
        assert result.shape == x.shape
        with pytest.raises(ZeroDivisionError):
            result.compute(scheduler="sync")


def bad(x, k, grid):
    return {
        "rank": ((x[0], k, grid), {}, ValueError, "x: expected .H, W., .C, H, W. or .B, C, H, W. with the grid's size"),
        "size": ((x[:-1], k, grid), {}, ValueError, r"x: expected .* with the grid's size \(60, 70\), got \[59, 70\]"),
        "integers": (((255 * x).astype(np.uint8), k, grid), {}, TypeError, "x: expected float32 or float64, got uint8"),
        "dtype": ((x, k.astype(np.float32), grid), {}, TypeError, "kernels: expected float64 like x, got float32"),
        "kernels": ((x, k[0], grid), {}, ValueError, r"kernels: expected \[R, kh, kw\]"),
        "patches": ((x, k[:7], grid), {}, ValueError, "kernels: expected B = 1 or 1, C = 1 or 1, R = 20 of the grid"),
        "colours": ((x, k[None, None].repeat(2, 1), grid), {}, ValueError, "kernels: expected B = 1 or 1, C = 1 or 1"),
        "grid": ((x, k, PATCHES), {}, TypeError, "grid: expected an EFFGrid"),
        "part": ((x, k, grid.part((0, 60), (0, 70))), {}, TypeError, "grid: expected an EFFGrid of a whole image"),
        "padding": ((x, k, grid), {"padding": "edges"}, ValueError, "padding: expected one of"),
        "form": ((x, k, grid), {"form": "both"}, ValueError, "form: expected"),
    }


@pytest.mark.parametrize("case", bad(*scene()))
def test_bad_arguments_are_errors_at_once(case):
    arguments, options, error, match = bad(*scene())[case]
    with pytest.raises(error, match=match):
        on_dask.eff_conv(*arguments, **options)


def test_bad_arguments_of_the_others():
    x, k, grid = scene()
    with pytest.raises(ValueError, match="beta: expected a number > 0, got -1"):
        on_dask.eff_image_quotient(x, k, grid, beta=-1)
    with pytest.raises(ValueError, match="kernels: .* larger|kernels: expected"):
        on_dask.eff_image_quotient(x, np.ones((20, 61, 5)), grid, beta=1)
    with pytest.raises(TypeError, match="border: irls on tiles does not take it"):
        on_dask.irls(x, k, grid, border="mask")
    with pytest.raises(ValueError, match="halo: expected"):
        on_dask.irls(x, k, grid, halo=-1)
    with pytest.raises(ValueError, match="mask: expected"):
        on_dask.irls(x, k, grid, mask=np.ones((3, 3)))
