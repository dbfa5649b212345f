"""Which of cuda and triton goes first, by tables of what was measured."""
import json
import math
import types

import pytest
import torch

from svconv import backends
from svconv.backends import measured
from svconv.cli import info

GPU = "Made Up GPU 9000"


def row(cuda, triton, op="pixel_filter_gram", dtype="float32", elements=1 << 20, kernel=49):
    return {"op": op, "dtype": dtype, "elements": elements, "kernel": kernel, "seconds": {"cuda": cuda, "triton": triton}}


@pytest.fixture
def shipped(monkeypatch, tmp_path):
    """Ships a table with these rows for the GPU that every tensor is on."""
    def ship(*rows):
        found = {"gpu": GPU, "source": "bench/results/made-up-gpu-9000.json", "commit": "0000000", "rows": list(rows)}
        (tmp_path / f"{measured.slug(GPU)}.json").write_text(json.dumps(found))
        monkeypatch.setattr(measured, "FOLDER", tmp_path)
        measured.table.cache_clear()

    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: GPU)
    yield ship
    measured.table.cache_clear()


def gram(side=1024, taps=7, dtype=torch.float32):
    x = torch.empty(1, 1, side, side, dtype=dtype, device="meta")
    return x, torch.empty(1, 1, 5, taps, taps, side, side, dtype=dtype, device="meta"), None, "zeros"


def first(op, arguments):
    """The name of what would run if both could."""
    made = {name: types.SimpleNamespace(**{op: name}) for name in ("cuda", "triton", "reference")}
    candidates = tuple((name, getattr(module, op), None) for name, module in made.items())
    return [name for name, _, _ in backends._in_order(candidates, op, arguments)]


def test_triton_goes_first_where_nothing_was_measured(shipped):
    assert first("pixel_filter_gram", gram()) == ["triton", "cuda", "reference"]
    shipped(row(1.0, 2.0))
    for other in (gram(dtype=torch.bfloat16), gram(side=256), gram(side=4096), gram(taps=3), gram(taps=31)):
        assert measured.why_not_cuda("pixel_filter_gram", *other) == measured.UNMEASURED
        assert first("pixel_filter_gram", other) == ["triton", "cuda", "reference"]
    assert first("pixel_filter_fwd", gram()) == ["triton", "cuda", "reference"]


def test_the_faster_one_goes_first(shipped):
    shipped(row(1.0, 2.0), row(3.0, 2.0, elements=1 << 24))
    assert first("pixel_filter_gram", gram()) == ["cuda", "triton", "reference"]
    assert first("pixel_filter_gram", gram(taps=5)) == ["cuda", "triton", "reference"]
    assert first("pixel_filter_gram", gram(side=4096)) == ["triton", "cuda", "reference"]
    assert "0.67x its time (bench/results/made-up-gpu-9000.json)" in measured.why_not_cuda("pixel_filter_gram", *gram(side=4096))


def test_other_candidates_keep_their_order(shipped):
    shipped(row(1.0, 2.0))
    for names in (["cuda", "reference"], ["triton", "reference"], ["cpu", "reference"]):
        assert [name for name, _, _ in backends._in_order(tuple((n, None, None) for n in names), "pixel_filter_gram", gram())] == names


def test_sizes_of_calls():
    x, radius = torch.empty(1, 3, 8, 9), torch.empty(1, 1, 8, 9)
    kernels, filters = torch.empty(1, 1, 4, 5, 3), torch.empty(1, 1, 2, 3, 5, 8, 9)
    grid = ((0,), (0,), 0.5, "hann")
    assert measured.size_of("disk_blur_fwd", (x, radius, "gather", "zeros", math.inf)) == (216, 0)
    assert measured.size_of("disk_blur_bwd_radius", (x, x, radius, "gather", "zeros", 6.0)) == (216, 13 * 13)
    assert measured.size_of("eff_fwd", (x, kernels, "scatter", "zeros", *grid)) == (216, 15)
    assert measured.size_of("eff_bwd_kernels", (x, x, kernels.shape, x.dtype, "scatter", "zeros", *grid)) == (216, 15)
    assert measured.size_of("pixel_filter_fwd", (x, filters, "zeros")) == (216, 15)
    assert measured.size_of("pixel_filter_bwd_filters", (x, x, filters.shape, x.dtype, "zeros")) == (216, 15)
    assert measured.size_of("pixel_filter_gram_bwd_filters", (x, x, filters, None, "zeros")) == (216, 15)
    assert measured.size_of("eff_image_quotient_fwd", (x, kernels, None, None, "zeros", *grid)) == (216, 15)
    assert measured.size_of("eff_kernel_quotient_fwd", (x, x, None, 5, 3, *grid)) == (216, 15)
    assert measured.size_of("conv_fwd", (x, kernels, "zeros")) == (216, 0)
    assert measured.size_of("pixel_filter_stencil_apply", (x, x, (3, 3), "zeros")) == (216, 0)


def test_nothing_speaks_for_an_empty_call(shipped):
    shipped(row(1.0, 2.0))
    assert measured.why_not_cuda("pixel_filter_gram", torch.empty(0, 1, 8, 8), *gram()[1:]) == measured.UNMEASURED


def test_info_says_what_was_measured(shipped):
    shipped()
    assert "triton goes first on every GPU" in "\n".join(info.choices())
    shipped(row(1.0, 2.0), row(3.0, 2.0, "disk_blur_fwd", kernel=0))
    text = " ".join(" ".join(info.choices()).split())
    assert f"pixel_filter_gram float32 on {GPU}: cuda, 2.00x, about 1048576 elements, kernels of about 49 values" in text
    assert f"disk_blur_fwd float32 on {GPU}: triton, 1.50x, about 1048576 elements (bench/results/made-up-gpu-9000.json)" in text
