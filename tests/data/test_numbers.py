"""NumPy scalars are numbers, torch's default dtype changes nothing, and what is no number is named."""
import numpy as np
import pytest
import torch

from svconv.data import BlurPairs, PhotographCache, degrade, jpeg_round_trip, motion_kernel, motion_path, split_photographs

IMAGE = torch.linspace(0, 1, 300).reshape(1, 15, 20)


def seeded():
    return torch.Generator().manual_seed(0)


def everything(photographs, whole=int, real=float):
    """One result of every function that takes numbers, with the numbers in the given types."""
    every = whole(3)
    pairs = BlurPairs(photographs, whole(40), whole(9), length=whole(20), seed=whole(7), noise=real(0.25), smallest=whole(5),
                      cache_bytes=whole(200))
    cache = PhotographCache(whole(250), whole(100))
    return {
        "motion_kernel": motion_kernel(whole(9), whole(3), generator=seeded()),
        "motion_path": motion_path(whole(2), points=whole(50), generator=seeded()),
        "degrade": degrade(IMAGE, gaussian=real(0.25), poisson=real(64), impulse=real(0.125), saturation=real(1.5), jpeg=whole(80),
                           generator=seeded()),
        "jpeg_round_trip": jpeg_round_trip(IMAGE, whole(50)),
        "BlurPairs": torch.cat([part.flatten() for i in range(3) for part in pairs[whole(i)]]),
        "PhotographCache": torch.from_numpy(cache.get(pairs.files[0]).copy()),
        "split_photographs": torch.tensor(split_photographs(list(range(12)), every)[1]),
    }


def zero_dimensional(kind):
    return lambda value: np.array(value, kind)


@pytest.mark.parametrize("whole, real", [
    (np.uint8, np.float32), (np.int16, np.float64), (np.int64, np.float16), (zero_dimensional(np.uint8), zero_dimensional(np.float32))])
def test_numpy_scalars_are_numbers(photographs, whole, real):
    expected, found = everything(photographs), everything(photographs, whole, real)
    for name in expected:
        assert found[name].dtype == expected[name].dtype and torch.equal(found[name], expected[name]), name


def test_the_default_dtype_changes_nothing(photographs):
    expected = everything(photographs)
    torch.set_default_dtype(torch.float64)
    try:
        found = everything(photographs)
        assert motion_kernel(5, 0).dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)
    for name in expected:
        assert found[name].dtype == expected[name].dtype and torch.equal(found[name], expected[name]), name


@pytest.mark.parametrize("name, call", [
    ("size", lambda p: motion_kernel("9")), ("n", lambda p: motion_path(2.5)), ("points", lambda p: motion_path(1, points=0)),
    ("gaussian", lambda p: degrade(IMAGE, gaussian="much")),
    ("poisson", lambda p: degrade(IMAGE, poisson=torch.ones(2))),
    ("jpeg", lambda p: degrade(IMAGE, jpeg=80.5)), ("kernel_size", lambda p: BlurPairs(p, 40, 9.5)),
    ("noise", lambda p: BlurPairs(p, noise=-1)),
    ("length", lambda p: BlurPairs(p, length=-1)),
    ("max_bytes", lambda p: PhotographCache(None)), ("every", lambda p: split_photographs([1, 2], 0))])
def test_what_is_no_such_number_is_named(photographs, name, call):
    with pytest.raises((TypeError, ValueError), match=f"^{name}: expected"):
        call(photographs)
