"""layered: every pixel with its own radius, blends between levels, what is sharp stays, errors."""
import pytest
import torch

from scenes import picture, psnr
from svconv import conv, disk_kernel
from svconv.solvers import hyper_laplacian, layered
from svconv.solvers.layered import _Weights

F64 = torch.float64


def blurred(x, radius):
    """Each half of the image with a radius of its own, gather form."""
    parts = [conv(x, disk_kernel(torch.tensor(r, dtype=x.dtype), 9)[None], padding="replicate") for r in radius]
    half = x.shape[-1] // 2
    return torch.cat([parts[0][..., :half], parts[1][..., half:]], -1)


def two_halves(radius, height=64, width=80, dtype=F64):
    x = torch.full((1, 1, height, width), radius[0], dtype=dtype)
    x[..., width // 2:] = radius[1]
    return x


def test_one_level_is_hyper_laplacian():
    x = picture(40, 44, channels=3, dtype=F64)
    y = blurred(x, (2.0, 2.0))
    expected = hyper_laplacian(y, disk_kernel(torch.tensor(2.0, dtype=F64), 5)[None]).x
    result = layered(y, two_halves((2.0, 2.0), 40, 44))
    assert result.levels == (2.0,)
    torch.testing.assert_close(result.x, expected)
    torch.testing.assert_close(layered(y, two_halves((9.0, 9.0), 40, 44), levels=[1.0, 2.0]).x, expected)      # above the last level
    torch.testing.assert_close(layered(y, two_halves((1.7, 1.7), 40, 44), levels=[1.0, 2.0], blend=False).x, expected)


def test_each_half_is_restored_with_its_own_radius():
    x = torch.rand(1, 1, 16, 20, generator=torch.Generator().manual_seed(1), dtype=F64).repeat_interleave(4, 2).repeat_interleave(4, 3)
    y = blurred(x, (1.0, 2.0)) + 0.005 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=F64)
    halves = [(..., slice(8, -8), slice(8, 32)), (..., slice(8, -8), slice(48, -8))]       # away from where they meet
    own, small, large = (layered(y, two_halves(radii)).x for radii in ((1.0, 2.0), (1.0, 1.0), (2.0, 2.0)))
    for half, wrong in zip(halves, (large, small)):
        assert psnr(own[half], x[half]) > max(psnr(y[half], x[half]), psnr(wrong[half], x[half])) + 6


def test_what_is_sharp_stays_bit_for_bit():
    x = picture(40, 44, channels=3)
    for radius in (0.0, -2.0, 0.5):
        result = layered(x, two_halves((radius, radius), 40, 44, torch.float32))
        assert torch.equal(result.x, x) and result.levels == ()
    half = layered(x, two_halves((0.3, 2.0), 40, 44, torch.float32)).x
    assert torch.equal(half[..., :22], x[..., :22]) and not torch.equal(half[..., 22:], x[..., 22:])


@pytest.mark.parametrize("blend", [True, False])
def test_weights_are_a_partition_of_unity(blend):
    radius, levels = torch.linspace(-1, 8, 401, dtype=F64).reshape(1, 1, 1, -1), [0.75, 1.0, 2.0, 5.0]
    weights = _Weights(radius, levels, blend)
    parts = [weights.sharp(), *(weights.of(i) for i in range(4))]
    torch.testing.assert_close(sum(parts), torch.ones_like(radius), atol=1e-15, rtol=0)
    mean = sum(w * level for w, level in zip(parts, [0.5, *levels]))
    if blend:
        torch.testing.assert_close(mean, radius.clamp(0.5, 5), atol=1e-12, rtol=0)
    else:
        nearest = torch.tensor([0.5, *levels], dtype=F64)
        distance = (radius.clamp(0.5, 5).flatten()[:, None] - nearest).abs().min(1).values
        torch.testing.assert_close((mean - radius.clamp(0.5, 5)).abs().flatten(), distance, atol=1e-12, rtol=0)


def test_batches_callbacks_and_half_types():
    x = picture(40, 44, batch=2)
    y = blurred(x, (1.5, 1.5))
    radius = torch.cat([two_halves((1.5, 1.5), 40, 44), two_halves((0.0, 2.5), 40, 44)]).float()
    steps = []
    both = layered(y, radius, callback=lambda *call: steps.append(call[:2]))
    assert steps == [(1, 2), (2, 2)] and both.levels == (1.5, 2.5)
    for i in range(2):
        alone = layered(y[i:i + 1], radius[i:i + 1]).x
        assert float((both.x[i:i + 1] - alone).abs().max()) < 1e-3
    half = layered(y.bfloat16(), radius)
    assert half.x.dtype == torch.bfloat16 and float((half.x.float() - both.x).abs().max()) < 0.1
    assert layered(y[:0], radius[:1]).x.shape == (0, *y.shape[1:])


Y, R = torch.rand(1, 1, 12, 12), torch.ones(1, 1, 12, 12)


@pytest.mark.parametrize("arguments, options, error, match", [
    ((Y[0], R), {}, ValueError, "y"), ((Y, R[..., :6]), {}, ValueError, "radius"), ((Y, R.expand(1, 3, 12, 12)), {}, ValueError, "radius"),
    ((Y, R.long()), {}, TypeError, "radius: expected dtype"), ((Y, R * float("nan")), {}, ValueError, "radius: expected finite"),
    ((Y, 20 * R), {}, ValueError, "radius: expected disks no larger than the image"), ((Y, R), {"lam": 0}, ValueError, "lam"),
    ((Y, R), {"levels": []}, ValueError, "levels: expected increasing"), ((Y, R), {"levels": [2, 1]}, ValueError, "levels"),
    ((Y, R), {"levels": [0.5, 1]}, ValueError, "levels"), ((Y, R), {"levels": 3}, TypeError, "levels: expected a sequence")])
def test_errors(arguments, options, error, match):
    with pytest.raises(error, match=match):
        layered(*arguments, **options)
