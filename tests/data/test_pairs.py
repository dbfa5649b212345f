"""Blur pairs: the model they follow, determinism, rejection of flat crops, bad arguments."""
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.signal import convolve2d

from svconv.data import BlurPairs
from svconv.data.crops import enough_gradient
from svconv.data.pairs import valid_convolution


@pytest.mark.parametrize("kernel_size", [1, 6, 9])
def test_blurry_is_the_convolution_of_sharp_with_the_kernel(photographs, kernel_size):
    blurry, sharp, kernel = BlurPairs(photographs, 48, kernel_size, noise=0)[5]
    assert blurry.shape == sharp.shape == (1, 48, 48) and kernel.shape == (kernel_size, kernel_size)
    full = convolve2d(sharp[0].numpy(), kernel.numpy())
    c, m = kernel_size // 2, kernel_size
    same = full[c : c + 48, c : c + 48]
    np.testing.assert_allclose(blurry[0].numpy()[m:-m, m:-m], same[m:-m, m:-m], atol=1e-5)


def test_the_border_of_a_blurry_crop_is_real(photographs):
    pairs = BlurPairs(photographs, 40, 9, noise=0)
    blurry, sharp, kernel = pairs[0]
    inside = convolve2d(sharp[0].numpy(), kernel.numpy(), mode="same")
    assert np.abs(inside - blurry[0].numpy())[0].max() > 0.01  # zeros outside would darken the border


def test_valid_convolution_is_that_of_scipy():
    image, kernel = torch.rand(30, 41), torch.rand(7, 7)
    np.testing.assert_allclose(valid_convolution(image, kernel), convolve2d(image, kernel, mode="valid"), rtol=1e-4)


def test_an_index_has_one_pair_whatever_was_read_before(photographs):
    a, b = BlurPairs(photographs, 40, 9, seed=3), BlurPairs(photographs, 40, 9, seed=3, length=50, cache_bytes=1)
    for i in (4, 0, 4, 2):
        assert all(torch.equal(p, q) for p, q in zip(a[i], b[i]))
    for i in range(3):
        b[i]
    assert torch.equal(a[7][0], b[7][0])
    assert not torch.equal(a[1][2], a[2][2])
    assert not torch.equal(a[1][2], BlurPairs(photographs, 40, 9, seed=4)[1][2])


def test_it_feeds_a_data_loader(photographs):
    batch = next(iter(torch.utils.data.DataLoader(BlurPairs(photographs, 40, 9, length=8), batch_size=4)))
    assert [tuple(t.shape) for t in batch] == [(4, 1, 40, 40), (4, 1, 40, 40), (4, 9, 9)]


def test_noise_has_the_given_size(photographs):
    clean, noisy = (BlurPairs(photographs, 96, 9, noise=n)[0][0] for n in (0, 0.03))
    assert abs(float((noisy - clean).std()) - 0.03) < 0.001


def test_smaller_kernels_are_centred_in_the_large_one(photographs):
    pairs = BlurPairs(photographs, 40, 17, smallest=5)
    sides = []
    for i in range(40):
        kernel = pairs[i][2]
        used = (kernel.sum(0) > 0).nonzero()
        sides.append(int(used[-1] - used[0]) + 1)
        centre = (kernel.sum(0) * torch.arange(17.0)).sum()
        assert abs(float(centre) - 8) < 1e-4
    assert min(sides) < 7 and max(sides) > 10


def test_flat_crops_are_drawn_again(tmp_path):
    flat, edges = (
        np.full((64, 64), 128, np.uint8),
        np.kron(np.random.default_rng(0).integers(0, 255, (16, 16)), np.ones((4, 4))).astype(np.uint8),
    )
    for i in range(3):
        Image.fromarray(flat).save(tmp_path / f"flat{i}.png")
    Image.fromarray(edges).save(tmp_path / "edges.png")
    pairs = BlurPairs(tmp_path, 32, 5, noise=0)
    kept = [enough_gradient(pairs[i][1][0]) for i in range(12)]
    assert sum(kept) >= 11  # 20 tries miss the one good photograph of four once in 300 draws


def test_bad_arguments(photographs):
    with pytest.raises(ValueError, match="^smallest:"):
        BlurPairs(photographs, 40, 9, smallest=11)
    with pytest.raises(ValueError, match="^size:"):
        BlurPairs(photographs, 8, 9)
    with pytest.raises(ValueError, match="as large as a crop"):
        BlurPairs(photographs, 200, 9)[0]
    with pytest.raises(IndexError, match="^index:"):
        BlurPairs(photographs, 40, 9, length=3)[3]
