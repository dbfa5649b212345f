"""Kernels in files: shapes, normalisation, refusals; estimated kernels written out."""
import pickle

import numpy as np
import pytest
from PIL import Image

from svconv.files import kernels
from svconv.files.errors import FileError


@pytest.mark.parametrize(
    "shape, expected", [((5, 4), (1, 5, 4)), ((5, 4, 3), (3, 5, 4)), ((3, 5, 4), (3, 5, 4)), ((5, 4, 1), (1, 5, 4)), ((3, 3), (1, 3, 3))]
)
def test_arrays_are_normalised_per_channel(tmp_path, shape, expected):
    raw = np.random.default_rng(0).random(shape)
    np.save(tmp_path / "k.npy", raw)
    k = kernels.read_kernel(tmp_path / "k.npy")
    assert k.shape == expected and k.dtype == np.float64
    np.testing.assert_allclose(k.sum((1, 2)), 1)
    channels = raw[None] if raw.ndim == 2 else raw if raw.shape == expected else np.moveaxis(raw, 2, 0)
    np.testing.assert_allclose(k, channels / channels.sum((1, 2), keepdims=True))


def test_equal_channels_are_one_kernel(tmp_path):
    np.save(tmp_path / "k.npy", np.repeat(np.random.default_rng(0).random((5, 4, 1)), 3, 2))
    assert kernels.read_kernel(tmp_path / "k.npy").shape == (1, 5, 4)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_images_are_kernels(tmp_path, dtype):
    if dtype == np.uint16:
        pytest.importorskip("imagecodecs")
    raw = (np.random.default_rng(0).random((5, 7)) * np.iinfo(dtype).max).astype(dtype)
    Image.fromarray(raw).save(tmp_path / "k.png")
    np.testing.assert_allclose(kernels.read_kernel(tmp_path / "k.png"), raw[None] / raw.sum(dtype=float))


def test_an_array_under_another_name_is_recognised(tmp_path):
    np.save(tmp_path / "k.npy", np.ones((3, 3)))
    (tmp_path / "k.npy").rename(tmp_path / "k.dat")
    assert kernels.read_kernel(tmp_path / "k.dat").shape == (1, 3, 3)


@pytest.mark.parametrize(
    "array, text",
    [
        (np.zeros((3, 3)), "sum > 0"),
        (-np.ones((3, 3)), "sum > 0"),
        (np.array([[1.0, np.nan]]), "NaN"),
        (np.array([[1.0, np.inf]]), "NaN or infinite"),
        (np.ones((3, 3), complex), "real numbers"),
        (np.array([["a"]]), "real numbers"),
        (np.ones(3), "got .3."),
        (np.ones((2, 3, 4)), "got .2, 3, 4."),
        (np.ones((0, 3)), "sides >= 1"),
        (np.stack([np.ones((3, 4)), np.zeros((3, 4)), np.ones((3, 4))]), "sum > 0"),
    ],
)
def test_what_is_no_kernel_is_refused(tmp_path, array, text):
    np.save(tmp_path / "k.npy", array)
    with pytest.raises(FileError, match=f"k.npy.*{text}"):
        kernels.read_kernel(tmp_path / "k.npy")


def test_pickles_are_never_loaded(tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath("sprung").touch, ())

    np.save(tmp_path / "k.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    (tmp_path / "k.pkl").write_bytes(pickle.dumps(Trap()))
    for name, text in (("k.npy", "pickle"), ("k.pkl", "k.pkl")):
        with pytest.raises(FileError, match=text):
            kernels.read_kernel(tmp_path / name)
    assert not (tmp_path / "sprung").exists()


def test_damaged_arrays_are_refused(tmp_path):
    np.save(tmp_path / "k.npy", np.ones((9, 9)))
    data = (tmp_path / "k.npy").read_bytes()
    for keep in (7, 60, len(data) - 8):
        (tmp_path / "cut.npy").write_bytes(data[:keep])
        with pytest.raises(FileError, match="cut.npy"):
            kernels.read_kernel(tmp_path / "cut.npy")


def test_kernels_are_written_exactly_or_as_16_bit_grey(tmp_path):
    k = np.random.default_rng(0).random((5, 7)).astype(np.float32)
    k /= k.sum()
    kernels.write_kernel(tmp_path / "k.npy", k)
    np.testing.assert_array_equal(np.load(tmp_path / "k.npy"), k)
    pytest.importorskip("imagecodecs")
    kernels.write_kernel(tmp_path / "k.png", k)
    np.testing.assert_allclose(kernels.read_kernel(tmp_path / "k.png")[0], k, atol=k.max() / 65535)
    with Image.open(tmp_path / "k.png") as im:
        assert np.asarray(im).max() == 65535


def test_what_hides_under_transparent_pixels_is_no_part_of_a_kernel(tmp_path):
    a = np.full((5, 7, 4), 200, np.uint8)
    a[:, 3:, 3] = 0
    Image.fromarray(a).save(tmp_path / "k.png")
    np.testing.assert_allclose(kernels.read_kernel(tmp_path / "k.png")[0], np.where(np.arange(7) < 3, 1 / 15, 0) * np.ones((5, 1)))
