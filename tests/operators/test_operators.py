"""Operators: dense matrices as oracle, dot tests on every padding, composition, norm, tensors, messages."""
import pytest
import torch

import svconv
from svconv import Conv, PixelFilter
from svconv._boundary import PADDINGS
from svconv.operators import Identity

HEIGHT, WIDTH = 6, 7
SIDES = [(3, 3), (4, 4), (2, 5), (1, 6), (9, 3)]
F64 = torch.float64


def bank(kh=3, kw=3, many=None, batch=1, channels=1, dtype=F64):
    middle = () if many is None else (channels, many)
    return torch.randn(batch, *middle, kh, kw, HEIGHT, WIDTH, dtype=dtype)


def dense(op, maps_in=None, sample=0, batch=1):
    """The matrix of `op` on one channel, column by column."""
    n = HEIGHT * WIDTH * (maps_in or 1)
    unit = torch.eye(n, dtype=F64).reshape(n, 1, *(() if maps_in is None else (maps_in,)), HEIGHT, WIDTH)
    if batch == 1:
        return op(unit).reshape(n, -1).T
    columns = [op(u.expand(batch, *u.shape))[sample].reshape(-1) for u in unit]
    return torch.stack(columns, 1)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("kh, kw", SIDES)
def test_certify_is_rounding_error_for_every_operator(padding, kh, kw, capsys):
    F = PixelFilter(bank(kh, kw, many=2, batch=2, channels=3, dtype=torch.float32), padding)
    G = PixelFilter(bank(kh, kw, dtype=torch.bfloat16), padding)
    K = Conv(torch.rand(1, 3, kh, kw), padding)
    for op in (F, G, K, F @ K, (F @ G).T, K.T @ K + 0.5 * G, -G, torch.tensor([2.0, 3.0]) * F, F.T @ F - Identity()):
        shape = None if op is not K else (HEIGHT, WIDTH)
        assert op.certify(shape) < 1e-12
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 9 and all(line.startswith("certify ") for line in lines)


def test_certify_finds_a_wrong_adjoint():
    class Wrong(PixelFilter):
        def _adjoint(self, y):
            return PixelFilter(self.filters.flip((1, 2)), self.padding)._forward(y)

        def with_tensors(self, tensors):
            return Wrong(*tensors, padding=self.padding)

    assert Wrong(bank()).certify() > 1e-3


def test_conv_keeps_the_convention_of_a_psf():
    """y[p] = sum_d k[d] x[p - (d - k//2)], even sizes included; the transpose correlates."""
    for kh, kw in SIDES:
        k, x = torch.randn(kh, kw, dtype=F64), torch.randn(1, 1, HEIGHT, WIDTH, dtype=F64)
        expected = torch.zeros_like(x)
        for i in range(kh):
            for j in range(kw):
                expected += k[i, j] * x.roll((i - kh // 2, j - kw // 2), (-2, -1))
        torch.testing.assert_close(Conv(k[None, None])(x), expected)


@pytest.mark.parametrize("padding", PADDINGS)
def test_compositions_are_the_compositions_of_the_matrices(padding):
    F, G, K = PixelFilter(bank(many=2), padding), PixelFilter(bank(4, 2), padding), Conv(torch.randn(1, 1, 3, 4, dtype=F64), padding)
    a = torch.tensor(0.7, dtype=F64)
    MF, MG, MK = dense(F), dense(G), dense(K)
    close = torch.testing.assert_close
    close(dense(G @ K), MG @ MK)
    close(dense(F.T, 2), MF.T)
    close(dense((F @ G).T, 2), (MF @ MG).T)
    close(dense(a * G + 2 * K - G.T), 0.7 * MG + 2 * MK - MG.T)
    close(dense((F @ K).T @ (F @ K)), MK.T @ MF.T @ MF @ MK)
    close(dense(K.T @ F.T @ F @ K), MK.T @ MF.T @ MF @ MK)
    close(dense(2 * F.T @ F + Identity()), 2 * MF.T @ MF + torch.eye(len(MK), dtype=F64))
    x = torch.randn(1, 1, HEIGHT, WIDTH, dtype=F64)
    for op in (F, G, K, F @ K, a * (G + K), F.T @ F, (G + K).T):
        close(op.gram(x), op.adjoint(op(x)))


def test_a_gram_is_one_pass(monkeypatch):
    calls = []
    real = svconv.operators.pixel_filter.pixel_filter_gram
    monkeypatch.setattr("svconv.operators.pixel_filter.pixel_filter_gram", lambda *a, **k: calls.append(1) or real(*a, **k))
    F, G = PixelFilter(bank(many=2)), PixelFilter(bank())
    x = torch.randn(1, 1, HEIGHT, WIDTH, dtype=F64)
    for op in (F.T @ F, 3 * F.T @ F, (F @ G).T @ (F @ G), G.T @ F.T @ F @ G):
        op(x)
    assert len(calls) == 4


def test_gram_takes_weights():
    F, w = PixelFilter(bank(many=2)), torch.rand(1, 1, 2, HEIGHT, WIDTH, dtype=F64)
    x = torch.randn(1, 2, HEIGHT, WIDTH, dtype=F64)
    torch.testing.assert_close(F.gram(x, weights=w), F.adjoint(w * F(x)))


def test_norm_is_within_one_percent_of_the_largest_singular_value_of_the_batch():
    F = PixelFilter(bank(many=2, batch=2) * torch.tensor([1.0, 3.0], dtype=F64).reshape(2, 1, 1, 1, 1, 1, 1))
    truth = max(float(torch.linalg.matrix_norm(dense(F, sample=i, batch=2), 2)) for i in range(2))
    assert F.norm() == pytest.approx(truth, rel=0.01)
    assert F.T.norm() == pytest.approx(truth, rel=0.01)
    K = Conv(torch.randn(1, 1, 4, 3, dtype=F64), "replicate")
    assert K.norm((HEIGHT, WIDTH)) == pytest.approx(float(torch.linalg.matrix_norm(dense(K), 2)), rel=0.01)
    assert Identity().norm((5, 5)) == pytest.approx(1)
    assert PixelFilter(torch.zeros(1, 3, 3, 8, 8)).norm() == 0
    assert F.norm() == F.norm()


def test_norm_of_a_large_uniform_blur_is_its_largest_frequency_response():
    kernel = torch.randn(1, 1, 5, 5)
    response = torch.fft.fft2(kernel, s=(96, 128)).abs().max()
    filters = kernel.flip((-2, -1)).reshape(1, 5, 5, 1, 1).expand(1, 5, 5, 96, 128)
    assert PixelFilter(filters, "circular").norm() == pytest.approx(float(response), rel=0.01)


def test_tensors_of_composites_carry_gradients_and_can_be_replaced():
    f, k = bank(many=2).requires_grad_(), torch.randn(1, 1, 3, 3, dtype=F64, requires_grad=True)
    a = torch.tensor(0.5, dtype=F64, requires_grad=True)
    F, K = PixelFilter(f), Conv(k)
    op = (F @ K).T @ (F @ K) + a * (K.T @ K)
    assert [t is s for t, s in zip(op.tensors, (f, k, a, k))] == [True] * 4
    x = torch.randn(1, 1, HEIGHT, WIDTH, dtype=F64)
    assert all(g is not None for g in torch.autograd.grad(op(x).square().sum(), (f, k, a)))
    other = op.with_tensors([2 * t.detach() for t in op.tensors])
    expected = ((PixelFilter(2 * f) @ Conv(2 * k)).gram(x) + 2 * a * Conv(2 * k).gram(x)).detach()
    torch.testing.assert_close(other(x), expected)
    assert op.to(torch.float32).tensors[0].dtype == torch.float32


def test_the_factor_may_be_one_number_per_sample():
    a = torch.tensor([2.0, 3.0], dtype=F64)
    G, x = PixelFilter(bank()), torch.randn(2, 3, HEIGHT, WIDTH, dtype=F64)
    torch.testing.assert_close((a * G)(x), G(x) * a.reshape(2, 1, 1, 1))
    torch.testing.assert_close((G * a).gram(x), G.gram(x) * (a * a).reshape(2, 1, 1, 1))
    assert (a * G).input_shape() == (2, 1, HEIGHT, WIDTH)


def test_repr_names_what_matters():
    F, K = PixelFilter(torch.zeros(1, 1, 2, 3, 3, 8, 9), "edge"), Conv(torch.zeros(1, 5, 5))
    assert repr(F) == "PixelFilter([1, 1, 2, 3, 3, 8, 9], padding='replicate', float32)"
    assert repr(F @ K) == f"{F!r} @ Conv([1, 5, 5], padding='circular', float32)"
    assert repr(0.5 * (K.T @ K)) == f"0.5 * ({K!r}.T @ {K!r})"
    assert repr((F @ K).T) == f"({F!r} @ {K!r}).T"


@pytest.mark.parametrize("make, error, message", [
    (lambda: PixelFilter(torch.zeros(3, 3)), ValueError, r"filters: expected \[B\|1, kh, kw, H, W\].*got \[3, 3\]"),
    (lambda: PixelFilter([1]), TypeError, "filters: expected a torch.Tensor, got list"),
    (lambda: PixelFilter(torch.zeros(1, 0, 3, 8, 8)), ValueError, r"filters: .*sides >= 1, got \[1, 0, 3, 8, 8\]"),
    (lambda: PixelFilter(torch.zeros(1, 3, 3, 8, 8), "mirrored"), ValueError, "padding: expected one of"),
    (lambda: PixelFilter(torch.zeros(1, 3, 3, 8, 8))(torch.zeros(1, 1, 8, 9)), ValueError, "filters: expected W of x = 9"),
    (lambda: PixelFilter(torch.zeros(1, 1, 2, 3, 3, 8, 8)).adjoint(torch.zeros(1, 1, 8, 8)), ValueError, r"y: expected \[B, C, M, H, W\]"),
    (lambda: Conv(torch.zeros(3)), ValueError, r"kernel: expected \[B\|1, C\|1, kh, kw\]"),
    (lambda: Conv(torch.ones(1, 3, 3)).norm(), ValueError, "shape: expected the input shape"),
    (lambda: PixelFilter(torch.zeros(1, 3, 3, 8, 8)).norm((8, 9)), ValueError, r"shape: expected .*\[any, any, 8, 8\].*got \[8, 9\]"),
    (lambda: PixelFilter(torch.zeros(1, 3, 3, 8, 8)) @ PixelFilter(torch.zeros(1, 3, 3, 8, 9)), ValueError, "expected equal W, got 8 in"),
    (lambda: PixelFilter(torch.zeros(1, 3, 3, 8, 8)) @ PixelFilter(torch.zeros(1, 1, 2, 3, 3, 8, 8)), ValueError, "takes M = None"),
    (lambda: PixelFilter(torch.zeros(1, 3, 3, 8, 8)) + PixelFilter(torch.zeros(1, 1, 2, 3, 3, 8, 8)), ValueError, "maps M ="),
    (lambda: Conv(torch.ones(1, 3, 3)) * "2", TypeError, "factor: expected a number or a tensor, got str"),
    (lambda: torch.ones(2, 2) * Conv(torch.ones(1, 3, 3)), ValueError, r"factor: .*got torch.float32 \[2, 2\]"),
])
def test_messages_name_the_argument(make, error, message):
    with pytest.raises(error, match=message):
        make()
