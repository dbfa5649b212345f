"""What the pixel_filter family refuses, and how it says it."""
import pytest
import torch

import svconv


def image(*shape, **kwargs):
    return torch.zeros(*shape or (2, 3, 4, 5), **kwargs)


@pytest.mark.parametrize(
    "x,f,error,text",
    [
        ([1.0], torch.zeros(2, 3, 3, 4, 5), TypeError, r"x: expected a torch.Tensor, got list"),
        (image(3, 4, 5), torch.zeros(2, 3, 3, 4, 5), ValueError, r"x: expected \[B, C, H, W\], got \[3, 4, 5\]"),
        (image(dtype=torch.int64), torch.zeros(2, 3, 3, 4, 5), TypeError, r"x: expected dtype float32.*got torch.int64"),
        (image(2, 3, 0, 5), torch.zeros(2, 3, 3, 0, 5), ValueError, r"x: expected H >= 1"),
        (image(), torch.zeros(3, 3, 4, 5), ValueError, r"filters: expected \[B\|1, kh, kw, H, W\] or .*got \[3, 3, 4, 5\]"),
        (image(), torch.zeros(3, 3, 3, 4, 5), ValueError, r"filters: .*= 1 or 2 at axis 0, got \[3, 3, 3, 4, 5\]"),
        (image(1, 3, 4, 5), torch.zeros(2, 3, 3, 4, 5), ValueError, r"filters: expected a batch of 1"),
        (image(), torch.zeros(2, 2, 1, 3, 3, 4, 5), ValueError, r"filters: .*channels.* = 1 or 3 at axis 1"),
        (image(), torch.zeros(2, 3, 3, 4, 4), ValueError, r"filters: expected W of x = 5 at axis -1"),
        (image(), torch.zeros(2, 0, 3, 4, 5), ValueError, r"filters: expected kh >= 1"),
        (
            image(),
            torch.zeros(2, 3, 3, 4, 5, dtype=torch.float64),
            TypeError,
            r"filters: expected dtype torch.float32 like x, got torch.float64",
        ),
        (image(), torch.zeros(2, 3, 3, 4, 5, device="meta"), TypeError, r"filters: expected device cpu like x, got meta"),
    ],
)
def test_bad_input_is_named(x, f, error, text):
    with pytest.raises(error, match=text):
        svconv.pixel_filter(x, f)


def test_bad_padding_weights_and_adjoint_input_are_named():
    x, f, y = torch.randn(2, 3, 7, 6), torch.randn(2, 3, 2, 3, 3, 7, 6), torch.randn(2, 3, 2, 7, 6)
    with pytest.raises(ValueError, match="padding: expected one of zeros, .*got 'same'"):
        svconv.pixel_filter(x, f, padding="same")
    with pytest.raises(ValueError, match="padding: .*got 3"):
        svconv.pixel_filter(x, f, padding=3)
    with pytest.raises(ValueError, match=r"y: expected \[B, C, M, H, W\] beside 7-D filters, got \[2, 3, 7, 6\]"):
        svconv.pixel_filter_adjoint(x, f)
    with pytest.raises(ValueError, match=r"y: expected M of filters = 2 at axis 2"):
        svconv.pixel_filter_adjoint(y[:, :, :1], f)
    with pytest.raises(ValueError, match=r"weights: expected \[B\|1, C\|1, M, H, W\]"):
        svconv.pixel_filter_gram(x, f, weights=x)
    with pytest.raises(ValueError, match=r"weights: expected M of filters = 2 at axis 2"):
        svconv.pixel_filter_gram(x, f, weights=y[:, :, :1])
    with pytest.raises(TypeError, match=r"weights: expected dtype torch.float32"):
        svconv.pixel_filter_gram(x, f, weights=y.double())
