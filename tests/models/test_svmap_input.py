"""SVMAP and SIMAP: kernels, sizes and pixels of every kind, precision, and weight files."""
import warnings

import pytest
import torch

from svconv.files import FileError
from svconv.files.archives import read_archive, write_archive
from svconv.models import SIMAP, SVMAP
from svconv.solvers.map_problem import MAPProblem

pytestmark = pytest.mark.usefixtures("one_thread")

KINDS = pytest.mark.parametrize("kind", [SVMAP, SIMAP])
SMALL = dict(width=4, max_iter=15)


def seeded(kind, seed=0, **arguments):
    torch.manual_seed(seed)
    return kind(**{**SMALL, **arguments}).eval()


def image(height=32, width=37, batch=1, seed=1):
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


def kernel(*sides, batch=1, colours=1, seed=2):
    k = torch.rand(batch, colours, *(sides if len(sides) == 2 else 2 * sides), generator=torch.Generator().manual_seed(seed))
    return k / k.sum((-2, -1), keepdim=True)


def restored(model, y, k, details=True):
    with torch.no_grad():
        return model(y, k, details=details)


def delta(side):
    k = torch.zeros(1, 1, side, side)
    k[..., side // 2, side // 2] = 1
    return k


@KINDS
@pytest.mark.parametrize("k", [kernel(4), kernel(3, 8), kernel(8, 1), kernel(5, colours=3), kernel(5)[0], kernel(1), kernel(32),
                               kernel(32, 37)], ids=lambda k: "x".join(map(str, k.shape)))
def test_kernels_of_every_shape(kind, k):
    """Even, not square, one per colour, without the axis of colours, as large as the image."""
    y = image()
    found = restored(seeded(kind), y, k)
    assert found.x.shape == y.shape and bool(torch.isfinite(found.x).all())
    before, after = (float(t.square().mean()) for t in (misfit(y, k, found.images[0]), found.reports[-1].misfit))
    assert after < 1.5 * before         # a solution of the same blur, not of one that is shifted or turned


def misfit(y, k, x):
    problem = MAPProblem(y, k)
    return problem.misfit(problem.extended(x))


@KINDS
def test_the_sum_of_a_kernel_counts(kind):
    """It is not normalised: y = K x."""
    y = image()
    found = restored(seeded(kind), y, 4 * kernel(5)).x
    assert float(found.mean()) == pytest.approx(float(y.mean()) / 4, rel=0.05)


@KINDS
@pytest.mark.parametrize("sides", [(39, 39), (33, 3), (3, 38)])
def test_a_kernel_larger_than_the_image_is_solved_on_its_plane(kind, sides):
    found = restored(seeded(kind), image(), kernel(*sides))
    assert found.x.shape == (1, 3, 32, 37) and bool(torch.isfinite(found.x).all())
    assert found.reports[-1].extended.shape[-2] >= 32 + sides[0] - 1 and found.reports[-1].extended.shape[-1] >= 37 + sides[1] - 1


@KINDS
@pytest.mark.parametrize("side", [1, 5])
def test_a_delta_kernel_smooths_at_most(kind, side):
    y = image()
    found = restored(seeded(kind, width=64), y, delta(side)).x
    assert float((found - y).square().mean().sqrt()) < 0.1 * float(y.std())


@KINDS
@pytest.mark.parametrize("height, width", [(32, 32), (37, 61), (1, 1), (2, 3), (1, 40), (7, 64)])
def test_any_size(kind, height, width):
    y = image(height, width)
    found = restored(seeded(kind), y, kernel(min(5, height), min(5, width))).x
    assert found.shape == y.shape and bool(torch.isfinite(found).all())


@pytest.mark.parametrize("k, text", [
    (kernel(5) * torch.nan, "kernel: expected finite values"), (0 * kernel(5), "kernel: expected a PSF that is not zero"),
    (-kernel(5), "kernel: expected weights >= 0 in total"), (kernel(5, batch=3), r"y: expected \[3, C, H, W\], got \[2, 3, 32, 37\]"),
    (kernel(5, colours=2), r"y: expected \[B, 2, H, W\], got"), (kernel(5).double(), "kernel: expected torch.float32"),
    ([[1.0]], "kernel: expected a torch.Tensor"),
])
def test_a_bad_kernel_is_named(k, text):
    with pytest.raises((ValueError, TypeError), match=text):
        restored(seeded(SVMAP), image(batch=2), k)


@pytest.mark.parametrize("y, error, text", [
    (torch.where(image() > 0.9, torch.nan, image()), ValueError, "y: expected finite pixels"),
    (torch.where(image() > 0.9, torch.inf, image()), ValueError, "y: expected finite pixels"),
    (image()[:, :1], ValueError, "y: expected 3 at axis 1"), (image()[0], ValueError, "y: expected"),
    ((255 * image()).to(torch.uint8), TypeError, "y: expected dtype"), (image().numpy(), TypeError, "y: expected a torch.Tensor"),
    (image().double(), TypeError, "y: expected torch.float32 like the weights"), (image().half(), TypeError, "like the weights"),
])
def test_a_bad_image_is_named(y, error, text):
    with pytest.raises(error, match=text):
        restored(seeded(SVMAP), y, kernel(5))


@KINDS
@pytest.mark.parametrize("value", [0.0, 0.4])
def test_a_constant_image_stays_nearly_constant(kind, value):
    found = restored(seeded(kind, width=64), torch.full((1, 3, 32, 33), value), kernel(5)).x
    assert float((found - value).abs().max()) <= 0.1 * value


@KINDS
def test_a_solve_that_does_not_converge_is_reported(kind):
    found = restored(seeded(kind, max_iter=2, tol=1e-9), image(batch=2), kernel(7))
    for report in found.reports:
        assert report.converged.tolist() == [False, False] and report.iterations.tolist() == [2, 2]
        assert float(report.residuals.min()) > 1e-9
    loose = restored(seeded(kind, max_iter=200, tol=1e-2), image(batch=2), kernel(7))
    assert all(bool(report.converged.all()) and float(report.residuals.max()) <= 1e-2 for report in loose.reports)


def test_an_adjoint_solve_that_does_not_converge_warns():
    with pytest.warns(RuntimeWarning, match="adjoint solve of the backward pass did not converge"):
        seeded(SVMAP, max_iter=2, tol=1e-9)(image(), kernel(7)).sum().backward()


@KINDS
def test_filters_that_are_all_zero_leave_the_first_image(kind):
    model = seeded(kind)
    with torch.no_grad():
        for _, nets in model.named_children():
            for net in nets:
                net.layers[-1].weight.zero_()
                net.layers[-1].bias.zero_()
    found = restored(model, image(), kernel(5))
    assert not found.filters[0].prior_filters.any() and not found.filters[0].data_filters.any()
    torch.testing.assert_close(found.x, found.images[0], rtol=0, atol=1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)     # the adjoint solve has no solution
        model(image(), kernel(5)).sum().backward()
    assert all(p.grad is None or bool(torch.isfinite(p.grad).all()) for p in model.parameters())


@KINDS
def test_a_batch_with_one_kernel_is_each_image_alone(kind):
    model, y, k = seeded(kind, max_iter=200, tol=1e-10).double(), image(batch=3).double(), kernel(5).double()
    each = torch.cat([restored(model, part[None], k).x for part in y])
    torch.testing.assert_close(restored(model, y, k).x, each, rtol=0, atol=1e-6)
    torch.testing.assert_close(restored(model, y, k.expand(3, 3, -1, -1)).x, each, rtol=0, atol=1e-6)


@KINDS
@pytest.mark.parametrize("k", [kernel(5), kernel(5, batch=0)])
def test_an_empty_batch_stays_one(kind, k):
    found = restored(seeded(kind), image(batch=0), k)
    assert found.x.shape == (0, 3, 32, 37) and all(report.iterations.shape == (0,) for report in found.reports)


@KINDS
def test_results_are_the_same_from_run_to_run(kind):
    model, y, k = seeded(kind), image(), kernel(5)
    assert torch.equal(restored(model, y, k).x, restored(model, y, k).x)


@KINDS
def test_bfloat16_filters(kind):
    model, y, k = seeded(kind, width=16), image(), kernel(5)
    exact = restored(model, y, k)
    model.precision = "bfloat16"
    found = restored(model, y, k)
    assert found.filters[0].prior_filters.dtype == torch.bfloat16 and found.x.dtype == torch.float32
    assert float((found.x - exact.x).square().mean().sqrt()) < 0.02 * float(exact.x.std()) and not torch.equal(found.x, exact.x)
    with pytest.raises(ValueError, match="precision: expected 'float32' or 'bfloat16', got 'half'"):
        model.precision = "half"
    assert model.precision == "bfloat16"


@pytest.mark.parametrize("arguments, text", [
    (dict(iterations=0), "iterations: "), (dict(data_filters=-1), "data_filters: "), (dict(prior_filters=0), "prior_filters: "),
    (dict(start="warm"), "start: expected 'l2' or 'random'"), (dict(initial=0), "initial: "), (dict(tol=-1), "tol: "),
    (dict(max_iter=0), "max_iter: "), (dict(prior_size=2.5), "prior_size: "),
])
def test_a_bad_argument_is_named(arguments, text):
    with pytest.raises(ValueError, match=text):
        SVMAP(**arguments)


# weight files ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind, arguments", [(SVMAP, dict()), (SVMAP, dict(iterations=3, share=True)), (SVMAP, dict(data_filters=0)),
                                             (SVMAP, dict(per_colour=False, prior_size=3)), (SIMAP, dict(data_filters=4, iterations=1))])
def test_a_file_holds_the_configuration(tmp_path, kind, arguments):
    model = seeded(kind, **arguments)
    model.save(tmp_path / "w.pt")
    loaded = kind.load(tmp_path / "w.pt")
    assert loaded.arguments == model.arguments and not loaded.training
    assert torch.equal(restored(loaded, image(), kernel(5)).x, restored(model, image(), kernel(5)).x)
    model.save(tmp_path / "half.pt", dtype=torch.float16)
    assert (tmp_path / "half.pt").stat().st_size < 0.7 * (tmp_path / "w.pt").stat().st_size
    assert next(kind.load(tmp_path / "half.pt").parameters()).dtype == torch.float32


def test_weights_of_the_other_model_are_refused(tmp_path):
    for kind, other in ((SVMAP, SIMAP), (SIMAP, SVMAP)):
        seeded(kind).save(tmp_path / "w.pt")
        with pytest.raises(FileError, match=f"w.pt: holds weights of {kind.__name__}, expected {other.__name__}"):
            other.load(tmp_path / "w.pt")


@pytest.mark.parametrize("change, text", [
    (dict(iterations=3), r'Missing key\(s\) in state_dict: "data.2.layers.0.weight"'),
    (dict(iterations=1), r'Unexpected key\(s\) in state_dict: "data.1'), (dict(share=True), r'Unexpected key\(s\) in state_dict: "data.1'),
    (dict(data_filters=0), r'Unexpected key\(s\) in state_dict: "data.0'), (dict(prior_size=3), "size mismatch for prior.0.layers.10"),
    (dict(width=5), r"size mismatch for data.0.layers.0.weight.*\[4, 3, 3, 3\].*\[5, 3, 3, 3\]"),
    (dict(width=0), "width: expected an integer >= 1, got 0"), (dict(colour=True), ".*unexpected keyword argument 'colour'"),
])
def test_a_checkpoint_of_another_configuration_is_refused(tmp_path, change, text):
    """The file and what differs are named, on one line that can be read."""
    path = tmp_path / "w.pt"
    seeded(SVMAP).save(path)
    stored = read_archive(path, "weight file")
    write_archive(path, {**stored, "arguments": {**stored["arguments"], **change}})
    with pytest.raises(FileError, match=f"w.pt: does not fit SVMAP: {text}") as error:
        SVMAP.load(path)
    assert "\n" not in str(error.value) and len(str(error.value)) < len(str(path)) + 220


def test_damaged_files_and_unknown_names_are_refused(tmp_path):
    (tmp_path / "w.pt").write_bytes(b"not weights")
    with pytest.raises(FileError, match="w.pt: not a readable weight file"):
        SVMAP.load(tmp_path / "w.pt")
    with pytest.raises(FileError, match="none.pt: no such weight file"):
        SVMAP.load(tmp_path / "none.pt")
    for kind in (SVMAP, SIMAP):
        with pytest.raises(ValueError, match="name: no weights 'nowhere' are shipped; known: "):
            kind.from_pretrained("nowhere")


def test_the_printed_form_says_the_configuration():
    assert "iterations=3" in repr(SVMAP(iterations=3, **SMALL)) and "share" not in SIMAP(**SMALL).extra_repr()
