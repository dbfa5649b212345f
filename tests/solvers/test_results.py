"""What solvers return and what they promise: one base of results, defaults as the pages say."""
import inspect
import re
from pathlib import Path

import pytest
import torch

from scenes import blur_kernel, picture
from svconv import Conv, Identity, solvers
from svconv.solvers.result import Result

PAGE = Path(__file__).resolve().parents[2] / "docs" / "solvers.md"
NAMES = [name for name in solvers.__all__ if inspect.isfunction(getattr(solvers, name))]


def results():
    y, op = picture(), Conv(blur_kernel())
    yield solvers.cg(op.T @ op + Identity(), y, max_iter=2)
    yield solvers.irls(op, y, reweightings=0, cg_iter=2)
    yield solvers.wiener(op, y, beta=0.1)
    yield solvers.richardson_lucy(op, y, max_iter=2)
    yield solvers.hyper_laplacian(y, op.kernel, padding="circular")
    yield solvers.blind_kernel(y, 5, steps=1)


def test_results_share_a_base_and_print_shapes():
    for result in results():
        assert isinstance(result, Result) and type(result).__name__ in solvers.__all__
        text = repr(result)
        assert text.startswith(f"{type(result).__name__}(x=float32 [1, ") and "tensor(" not in text and len(text) < 250
    result = solvers.CGResult(torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64), torch.zeros(2), torch.ones(2, dtype=torch.bool))
    assert repr(result) == (
        "CGResult(x=float32 [2, 3], iterations=int64 [2], residuals=float32 [2], converged=bool [2], history=None, adjoint=None)")


@pytest.mark.parametrize("name", NAMES)
def test_the_page_has_every_default(name):
    """docs/solvers.md shows each signature as it is."""
    signature = str(inspect.signature(getattr(solvers, name))).replace(repr(2 / 3), "2/3").replace("'", '"')
    assert f"solvers.{name}{signature}" in re.sub(r"\s+", " ", PAGE.read_text())


def test_files_are_named_by_their_function():
    folder = Path(inspect.getfile(solvers)).parent
    for name in NAMES:
        assert f"def {name}(" in (folder / f"{name}.py").read_text()


@pytest.mark.parametrize("call", [
    lambda n: solvers.irls(Conv(blur_kernel(3)), torch.rand(1, 1, 8, 8), reg=n("1e-3"), reweightings=n("1", int), cg_iter=n("2", int)),
    lambda n: solvers.richardson_lucy(Conv(blur_kernel(3)), torch.rand(1, 1, 8, 8), max_iter=n("2", int), damping=n("0.5")),
    lambda n: solvers.wiener(Conv(blur_kernel(3)), torch.rand(1, 1, 8, 8), beta=n("0.1")),
    lambda n: solvers.hyper_laplacian(torch.rand(1, 1, 8, 8), blur_kernel(3), lam=n("100"), exponent=n("0.5")),
    lambda n: solvers.cg(2 * Identity(), torch.rand(1, 1, 8, 8), tol=n("1e-3"), max_iter=n("3", int), check_every=n("2", int)),
    lambda n: solvers.blind_kernel(torch.rand(1, 1, 16, 16), n("5", int), reg=n("0.1"), kernel_reg=n("1"), steps=n("1", int),
                                   scales=n("1", int)),
    lambda n: solvers.hyper_laplacian_shrink(torch.rand(3), n("2"), n("0.5")),
])
def test_numpy_scalars_are_numbers_and_text_is_not(call):
    import numpy as np

    call(lambda text, kind=float: np.int32(text) if kind is int else np.float32(text))
    call(lambda text, kind=float: np.array(kind(text)))
    with pytest.raises(TypeError, match="expected (a number|an integer)"):
        call(lambda text, kind=float: text)
