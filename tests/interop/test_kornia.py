"""svconv.interop.kornia against torch's conv2d written out, and against kornia itself where it is installed."""
import importlib.util

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck, gradgradcheck

import svconv
from oracles import close, image

filter2d = svconv.interop.kornia.filter2d
DOUBLE = torch.float64
BORDERS = ("constant", "reflect", "replicate", "circular")
KERNELS = ((1, 1), (3, 3), (2, 4), (5, 2), (6, 7), (1, 8))


def written_out(x, kernel, border_type="reflect", normalized=False, padding="same", behaviour="corr"):
    """Channel by channel with conv2d, on the padded image."""
    kernel = kernel.flip((-2, -1)) if behaviour == "conv" else kernel
    if normalized:
        kernel = kernel / kernel.abs().sum((-2, -1), keepdim=True)
    (kh, kw), (b, c, _, _) = kernel.shape[-2:], x.shape
    if padding == "same":
        top, left = (kh - 1) // 2, (kw - 1) // 2
        x = F.pad(x, (left, kw - 1 - left, top, kh - 1 - top), mode=border_type)
    weight = kernel.expand(b, -1, -1).repeat_interleave(c, 0)[:, None]
    y = F.conv2d(x.reshape(1, b * c, *x.shape[-2:]), weight, groups=b * c)
    return y.reshape(b, c, *y.shape[-2:])


def theirs():
    """kornia's own function; None without kornia, which the extra interop brings."""
    if importlib.util.find_spec("kornia") is None:
        return None
    import kornia
    return kornia.filters.filter2d


REFERENCES = [f for f in (written_out, theirs()) if f is not None]


def kernel(batch, size, dtype=DOUBLE):
    return torch.randn(batch, *size, generator=torch.Generator().manual_seed(5), dtype=DOUBLE).to(dtype)


@pytest.mark.parametrize("reference", REFERENCES)
@pytest.mark.parametrize("border_type", BORDERS)
@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("behaviour", ["corr", "conv"])
def test_values_and_gradients(reference, border_type, normalized, padding, behaviour):
    for size in KERNELS:
        for batch in (1, 2):
            x, k = image(2, 3, 9, 11).requires_grad_(), kernel(batch, size).requires_grad_()
            options = border_type, normalized, padding, behaviour
            expected, found = reference(x, k, *options), filter2d(x, k, *options)
            close(found.detach(), expected.detach(), scale=20)
            g = torch.randn(expected.shape, generator=torch.Generator().manual_seed(6), dtype=DOUBLE)
            for ours, wanted in zip(*(torch.autograd.grad((y * g).sum(), (x, k)) for y in (found, expected))):
                torch.testing.assert_close(ours, wanted, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("reference", REFERENCES)
def test_defaults(reference):
    x, k = image(2, 3, 9, 11), kernel(1, (3, 4))
    close(filter2d(x, k), reference(x, k), scale=20)


@pytest.mark.parametrize("border_type", BORDERS)
def test_gradients_of_both_orders(border_type):
    x, k = image(1, 1, 4, 5).requires_grad_(), kernel(1, (2, 3)).requires_grad_()

    def run(x, k):
        return filter2d(x, k, border_type, True)

    assert gradcheck(run, (x, k), check_forward_ad=True) and gradgradcheck(run, (x, k))


def test_a_border_reaches_as_far_as_the_kernel():
    x, k = image(1, 1, 3, 2), kernel(1, (9, 8))
    for border_type, padding in zip(BORDERS, ("zeros", "reflect", "replicate", "circular")):
        close(filter2d(x, k, border_type), svconv.conv(x, k.flip((1, 2)), padding=padding), scale=20)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_precisions(dtype):
    x, k = image(2, 3, 9, 11, dtype=dtype), kernel(1, (3, 4))
    found = filter2d(x, k)              # the kernel is brought to the image, as in kornia
    close(found, written_out(x.double(), k.to(dtype).double()), scale=8)
    assert found.dtype == dtype


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool])
def test_whole_numbers_are_computed_in_float32(dtype):
    x = (100 * image(2, 3, 9, 11).abs()).to(dtype)
    found = filter2d(x, kernel(1, (3, 3)))
    assert found.dtype == torch.float32
    close(found, written_out(x.double(), kernel(1, (3, 3))), scale=8)


def test_strides_capitals_and_empty_batches():
    x, k = image(2, 3, 9, 11).to(memory_format=torch.channels_last), kernel(2, (8, 6))[:, ::2, ::3]
    close(filter2d(x, k, "REFLECT", padding="Same", behaviour="CONV"), written_out(x, k, behaviour="conv"), scale=20)
    close(filter2d(x[..., ::2, 1:], k), written_out(x[..., ::2, 1:], k), scale=20)
    assert filter2d(x[:0], kernel(1, (3, 3))).shape == (0, 3, 9, 11)
    assert filter2d(x[:0], kernel(1, (3, 3)), padding="valid").shape == (0, 3, 7, 9)


def test_compiled():
    x, k = image(2, 3, 9, 11), kernel(1, (3, 4))
    run = torch.compile(lambda x, k: filter2d(x, k, "replicate", True), fullgraph=True, backend="eager")
    torch.testing.assert_close(run(x, k), filter2d(x, k, "replicate", True))


def test_backends():
    x, k = image(2, 3, 9, 11), kernel(1, (3, 3))
    torch.testing.assert_close(filter2d(x, k, backend="reference"), filter2d(x, k))


X, K = torch.zeros(2, 3, 8, 9), torch.ones(1, 3, 3)
BAD = {
    "image of 3 axes": ((X[0], K), {}, ValueError, r"input: expected \[B, C, H, W\], got \[3, 8, 9\]"),
    "array": ((X.numpy(), K), {}, TypeError, "input: expected a torch.Tensor, got ndarray"),
    "complex image": ((X.cfloat(), K), {}, TypeError, "input: expected dtype"),
    "kernel of 2 axes": ((X, K[0]), {}, ValueError, r"kernel: expected a real tensor .* got torch.float32 \[3, 3\]"),
    "complex kernel": ((X, K.cfloat()), {}, ValueError, "kernel: expected a real tensor"),
    "no kernel": ((X, [[[1.0]]]), {}, ValueError, "kernel: expected a real tensor .* got list"),
    "batch of kernels": ((X, K.expand(3, 3, 3)), {}, ValueError, "kernel: expected a batch of 1 or that of input, = 1 or 2"),
    "empty kernel": ((X, K[:, :0]), {}, ValueError, "kernel: expected kh >= 1"),
    "border_type": ((X, K), {"border_type": "zeros"}, ValueError, "border_type: expected one of constant, reflect, replicate, circular"),
    "padding": ((X, K), {"padding": "full"}, ValueError, "padding: expected one of same, valid, got 'full'"),
    "behaviour": ((X, K), {"behaviour": None}, ValueError, "behaviour: expected one of corr, conv, got None"),
    "too large": ((X, torch.ones(1, 9, 3)), {"padding": "valid"}, ValueError, "kernel: expected at most the image 8 x 9"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments(case):
    arguments, options, error, match = BAD[case]
    with pytest.raises(error, match=match):
        filter2d(*arguments, **options)
