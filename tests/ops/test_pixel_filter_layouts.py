"""Filters as a network's head leaves them, all taps of a pixel side by side (channels_last), against the same filters plane by plane."""
import pytest
import torch

import oracles
import svconv

BACKENDS = oracles.usable_backends("pixel_filter", "pixel_filter_fwd")
OPS = {"forward": lambda x, y, f: svconv.pixel_filter(x, f, padding="reflect"),
       "adjoint": lambda x, y, f: svconv.pixel_filter_adjoint(y, f, padding="reflect"),
       "gram": lambda x, y, f: svconv.pixel_filter_gram(x, f, padding="reflect")}


def head(shape, dtype, offset=0):
    """[B, C M kh kw, H, W] in channels_last, from `offset` on in its memory, as filters."""
    b, *axes, h, w = shape
    channels = axes[0] * axes[1] * axes[2] * axes[3]
    generator = torch.Generator().manual_seed(channels + w)
    memory = torch.rand(b * h * w * channels + offset, generator=generator).to(dtype)[offset:]
    filters = memory.view(b, h, w, *axes).permute(0, 3, 4, 5, 6, 1, 2)
    assert filters.stride(4) == 1 or axes[3] == 1
    return filters


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("taps", [(1, 1), (1, 3), (3, 3), (4, 4), (1, 17), (5, 5), (6, 3), (7, 7), (15, 1)], ids=str)
def test_every_number_of_taps(backend, op, dtype, taps):
    for b, c, m, h, w in ((1, 1, 1, 5, 16), (2, 1, 2, 9, 33), (1, 3, 1, 7, 21)):
        filters = head((b, c, m, *taps, h, w), dtype, offset=3)
        x, y = torch.rand(b, c, h, w).to(dtype), torch.rand(b, c, m, h, w).to(dtype)
        with svconv.use_backend(backend):
            found, expected = (OPS[op](x, y, f) for f in (filters, filters.contiguous()))
        tolerance = {torch.float64: 1e-13, torch.float32: 1e-5}.get(dtype, 2e-2)
        assert (found - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_long_row_in_many_blocks(backend):
    filters = head((1, 2, 2, 5, 5, 8, 5003), torch.float32)
    x = torch.rand(1, 2, 8, 5003)
    found, expected = (svconv.pixel_filter_gram(x, f, backend=backend) for f in (filters, filters.contiguous()))
    assert torch.allclose(found, expected, rtol=1e-5)
