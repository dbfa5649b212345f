"""One dead kernel of a grid: refused by the name of its patch, or its picture comes back where nobody looked."""
import pytest
import torch

from scenes import blur_kernel, picture
from svconv import Conv, EFFBlur, EFFGrid, Identity, solvers
from svconv.solvers import problem

DEAD = {"zero": (lambda k: 0 * k, "a PSF that is not zero, got only zeros"),
        "one NaN": (lambda k: torch.where(torch.arange(k.numel()).reshape(k.shape) == 7, float("nan"), k), "finite values, got NaN or inf"),
        "inf": (lambda k: k * float("inf"), "finite values, got NaN or inf"),
        "negative": (lambda k: -k, "weights >= 0 in total, got a negative sum")}
SOLVERS = {
    "irls": lambda op, y, border: solvers.irls(op, y, cg_iter=5, border=border).x,
    "wiener": lambda op, y, border: solvers.wiener(op, y, beta=0.1, border=border).x,
    "richardson_lucy": lambda op, y, border: solvers.richardson_lucy(op, y, max_iter=3, border=border).x,
}
GRID = EFFGrid((40, 44), (2, 3))
every_dead = pytest.mark.parametrize("dead", list(DEAD))
every_solver = pytest.mark.parametrize("name", list(SOLVERS))


def kernels(dead, sample=1, patch=4):
    """Two of a batch; one patch of one of them is dead."""
    k = blur_kernel().repeat(2, 1, 6, 1, 1) if dead is None else kernels(None)
    if dead is not None:
        k[sample, 0, patch] = DEAD[dead][0](k[sample, 0, patch])
    return k


@every_dead
@every_solver
@pytest.mark.parametrize("border", [None, "mask", "replicate"])
def test_the_patch_is_named(name, dead, border):
    y, text = picture(batch=2), DEAD[dead][1]
    for form in ("scatter", "gather"):
        A = EFFBlur(kernels(dead), GRID, form=form)
        for op in (A, 2.0 * A, A @ Identity(), Conv(blur_kernel()) @ A, A.T) if border is None else (A,):
            place = r"\(sample 1, channel 0, patch 4, row 1 and column 1 of the grid\)"
            with pytest.raises(ValueError, match=rf"^op: expected {text}.*{place}"):
                SOLVERS[name](op, y, border)
    shared = EFFBlur(kernels(dead)[1:, 0], GRID)
    with pytest.raises(ValueError, match=r"\(sample 0, channel 0, patch 4, row 1 and column 1 of the grid\)"):
        SOLVERS[name](shared, y, None)


def test_the_other_part_of_a_product_is_not_blamed_on_a_patch():
    op = Conv(0 * blur_kernel()) @ EFFBlur(kernels(None), GRID)
    with pytest.raises(ValueError, match=r"only zeros \(sample 0, channel 0\)"):
        solvers.irls(op, picture(batch=2))


def test_the_channel_is_named():
    k = blur_kernel().repeat(1, 3, 6, 1, 1)
    k[0, 2, 5] = 0
    with pytest.raises(ValueError, match=r"\(sample 0, channel 2, patch 5, row 1 and column 2 of the grid\)"):
        solvers.wiener(EFFBlur(k, GRID), picture(channels=3), beta=0.1)


@pytest.mark.parametrize("dead", ["zero", "one NaN", "inf"])
@every_solver
def test_where_nobody_looked_its_picture_comes_back(monkeypatch, name, dead):
    y = picture(batch=2)
    expected = SOLVERS[name](EFFBlur(kernels(None), GRID), y, None)
    monkeypatch.setattr(problem, "readable", lambda t: False)
    x = SOLVERS[name](EFFBlur(kernels(dead), GRID), y, None)
    assert torch.equal(x[1], y[1]) and x.isfinite().all()
    torch.testing.assert_close(x[0], expected[0], rtol=0, atol=2e-4)


def test_differences_are_no_dead_patch():
    k = kernels(None)
    k[:, :, 2] = 0
    k[:, :, 2, 2, 2], k[:, :, 2, 2, 3] = -1, 1
    assert solvers.wiener(EFFBlur(k, GRID), picture(batch=2), beta=0.1).x.isfinite().all()
