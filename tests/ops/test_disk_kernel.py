"""The area of a pixel inside a disk against integration and closed forms; the table made of it, its gradient and its errors."""
import math

import pytest
import scipy.integrate
import torch

import svconv
from svconv import disk_kernel
from svconv._disk_area import pixel_area

F64 = torch.float64
RADII = (0.1, 0.5, 0.5000001, 0.6, 0.7071, 0.75, 1.0, 1.3, 1.5, 2.5, 3.7, 6.0, 12.25)


def offsets(radius):
    reach = math.ceil(radius + 0.5)
    t = torch.arange(-reach, reach + 1)
    return t[:, None], t


def integrated(r, row, column):
    """The area by numerical integration over the columns of the pixel, between the points where the circle bends the integrand."""
    low, high = row - 0.5, row + 0.5

    def inside(x):
        half = math.sqrt(max(r * r - x * x, 0))
        return max(0, min(half, high) - max(-half, low))

    cuts = {c for y in (low, high) if abs(y) < r for c in (math.sqrt(r * r - y * y), -math.sqrt(r * r - y * y))} | {r, -r}
    ends = [column - 0.5, *sorted(c for c in cuts if column - 0.5 < c < column + 0.5), column + 0.5]
    return sum(scipy.integrate.quad(inside, a, b, epsabs=1e-13, epsrel=1e-13, limit=200)[0] for a, b in zip(ends, ends[1:]))


@pytest.mark.parametrize("radius", RADII)
def test_areas_are_those_of_integration(radius):
    rows, columns = offsets(radius)
    area, _ = pixel_area(torch.tensor(radius, dtype=F64), rows, columns)
    for i, row in enumerate(rows.flatten().tolist()):
        for j, column in enumerate(columns.tolist()):
            assert abs(float(area[i, j]) - integrated(radius, row, column)) < 1e-12, (row, column)


@pytest.mark.parametrize("radius", [*RADII, 50.0, 333.3, 1000.7])
@pytest.mark.parametrize("dtype, limit", [(F64, 1e-12), (torch.float32, 1e-5)])
def test_areas_and_arcs_add_up_to_disk_and_circle(radius, dtype, limit):
    if dtype == torch.float32 and radius > 100:
        limit = 1e-7 * radius       # float32 does not hold the radius itself better
    r = torch.tensor(radius, dtype=dtype)
    area, arc = pixel_area(r, *offsets(radius))
    exact = float(r)
    assert abs(float(area.double().sum()) - math.pi * exact**2) < limit * max(1, exact**2)
    assert abs(float(arc.double().sum()) - 2 * math.pi * exact) < limit * max(1, exact)
    assert float(area.min()) >= 0 and float(area.max()) <= 1 + limit
    reference, _ = pixel_area(r.double(), *offsets(radius))
    assert float((area.double() - reference).abs().max()) < limit


def test_easy_cases_in_closed_form():
    half, one = (pixel_area(torch.tensor(r, dtype=F64), 0, 0)[0] for r in (0.5, math.sqrt(0.5)))
    assert abs(float(half) - math.pi / 4) < 1e-15 and abs(float(one) - 1) < 1e-15
    # r = 1: the circle leaves the middle pixel alone; a corner pixel from (1/2, 1/2) on
    corner = float(pixel_area(torch.tensor(1.0, dtype=F64), 1, 1)[0])
    s = math.sqrt(0.75)
    expected = 0.5 * (math.asin(s) - math.asin(0.5)) - 0.5 * (s - 0.5)        # sector between less two triangles
    assert abs(corner - expected) < 1e-15 and abs(float(pixel_area(torch.tensor(1.0, dtype=F64), 0, 0)[0]) - 1) < 1e-15


@pytest.mark.parametrize("radius", [0.6, 0.9, 1.31, 2.2, 5.77, 20.3])
def test_the_arc_is_the_derivative_of_the_area(radius):
    step, (rows, columns) = 1e-6, offsets(radius)
    r = torch.tensor(radius, dtype=F64)
    low, high = (pixel_area(r + s, rows, columns)[0] for s in (-step, step))
    torch.testing.assert_close((high - low) / (2 * step), pixel_area(r, rows, columns)[1], atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [13, 14, (13, 20), (15, 13)])
def test_the_table_is_normalised_centred_and_symmetric(size):
    radius = torch.tensor([0.0, -3.0, 0.5, 0.75, 1.0, 3.3, 6.0, 6.5], dtype=F64)[:7]
    k = disk_kernel(radius, size)
    kh, kw = (size, size) if isinstance(size, int) else size
    assert k.shape == (7, kh, kw) and k.dtype == F64
    torch.testing.assert_close(k.sum((1, 2)), torch.ones(7, dtype=F64), atol=1e-14, rtol=0)
    delta = torch.zeros(kh, kw, dtype=F64)
    delta[kh // 2, kw // 2] = 1
    assert all(torch.equal(k[i], delta) for i in range(3))
    square = disk_kernel(radius, 15)
    assert torch.equal(square, square.flip(1)) and torch.equal(square, square.transpose(1, 2))
    torch.testing.assert_close(disk_kernel(radius, 13), square[:, 1:-1, 1:-1], atol=0, rtol=0)


def test_the_papers_figures():
    k = disk_kernel(0.75, 3)
    assert round(float(k[1, 1]), 4) == 0.5659 and round(float(k[0, 1]), 4) == 0.1075 and round(float(k[0, 0]), 4) == 0.0010
    assert round(float(disk_kernel(1, 3)[1, 1]), 4) == 0.3183 and round(float(disk_kernel(6, 13)[6, 6]), 4) == 0.0088


@pytest.mark.parametrize("shape", [(), (3,), (2, 1, 4), (0,)])
@pytest.mark.parametrize("dtype", [torch.float32, F64, torch.bfloat16, torch.float16])
def test_shapes_and_dtypes(shape, dtype):
    radius = (0.3 + 2 * torch.rand(shape, generator=torch.Generator().manual_seed(0))).to(dtype)
    k = disk_kernel(radius, 7)
    assert k.shape == (*shape, 7, 7) and k.dtype == dtype
    torch.testing.assert_close(k.double(), disk_kernel(radius.double(), 7), atol={F64: 1e-15, torch.float32: 1e-6}.get(dtype, 4e-3), rtol=0)


def test_gradients():
    radius = torch.tensor([0.2, 0.7, 1.2, 2.3, 2.9], dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda r: disk_kernel(r, 7), radius, check_forward_ad=True, check_batched_grad=True)
    grad, = torch.autograd.grad(disk_kernel(radius, 7)[..., 3, 3].sum(), radius)
    assert float(grad[0]) == 0 and bool((grad[1:] < 0).all())
    jacobian = torch.func.vmap(torch.func.jacrev(lambda r: disk_kernel(r, 7)))(radius.detach())
    torch.testing.assert_close(jacobian, torch.func.vmap(torch.func.jacfwd(lambda r: disk_kernel(r, 7)))(radius.detach()))
    first, = torch.autograd.grad((disk_kernel(radius, 7) ** 2).sum(), radius, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable|differentiat"):
        first.sum().backward()


@pytest.mark.parametrize("radius", [0.5, 1.5, 2.5])
def test_at_a_jump_the_gradient_is_that_of_the_smaller_radius(radius):
    r = torch.tensor(radius, dtype=F64, requires_grad=True)
    grad, = torch.autograd.grad(disk_kernel(r, 9)[4, 4], r)
    step = 1e-6
    below = (disk_kernel(r.detach(), 9) - disk_kernel(r.detach() - step, 9))[4, 4] / step
    assert abs(float(grad - below)) < 1e-5


@pytest.mark.parametrize("arguments, error, match", [
    ((2.0, 3), ValueError, "size: expected at least 5 for a radius of 2, got .3, 3."), ((0.51, 1), ValueError, "size: expected at least 3"),
    ((1.5, (3, 2)), ValueError, "size: expected at least 3"), ((torch.tensor([1.0, 3.0]), 3), ValueError, "size: expected at least 7"),
    ((float("nan"), 9), ValueError, "radius"), ((torch.tensor([1.0, math.nan]), 9), ValueError, "radius: expected finite"),
    ((torch.tensor([math.inf]), 9), ValueError, "radius: expected finite"), ((torch.tensor([1]), 9), TypeError, "radius: expected dtype"),
    (("1", 9), TypeError, "radius"), ((1.0, 0), ValueError, "size"), ((1.0, 3.5), TypeError, "size")])
def test_errors(arguments, error, match):
    with pytest.raises(error, match=match):
        disk_kernel(*arguments)


def test_it_compiles_and_blurs():
    radius = torch.tensor([0.7, 2.2])
    torch.testing.assert_close(torch.compile(lambda r: disk_kernel(r, 5), fullgraph=True)(radius), disk_kernel(radius, 5))
    x = torch.rand(2, 3, 16, 16)
    y = svconv.conv(x, disk_kernel(radius, 5)[:, None], padding="replicate")
    assert y.shape == x.shape and bool((y.var((1, 2, 3)) < x.var((1, 2, 3))).all())
