"""The patches of the compiled module: bits, threads, kept spectra, bad tables. The values are compared in tests/ops/test_eff.py."""
import numpy as np
import pytest
import torch

from svconv._eff_grid import EFFGrid
from svconv._eff_tables import convolution

_C = pytest.importorskip("svconv._C", reason="svconv._C is not built")
from svconv.backends.cpu import eff  # noqa: E402  its tables need nothing else of the package

GRID = 3, 4
OPTIONS = (*([n] for n in GRID), 0.5, "hann")
PADDINGS = ("zeros", "replicate", "reflect", "symmetric", "circular")


@pytest.fixture
def threads():
    former = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(former)


def data(b=2, c=3, h=90, w=110, kb=1, kc=3, kh=9, kw=8, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(b, c, h, w, generator=generator, dtype=dtype),
            torch.rand(kb, kc, GRID[0] * GRID[1], kh, kw, generator=generator, dtype=dtype))


def everything(x, kernels, form, padding):
    beta = torch.full((1,), 0.1, dtype=x.dtype)
    return (eff.eff_fwd(x, kernels, form, padding, *OPTIONS), eff.eff_adjoint(x, kernels, form, padding, *OPTIONS),
            eff.eff_bwd_kernels(x, x, kernels.shape, x.dtype, form, padding, *OPTIONS),
            eff.eff_image_quotient_fwd(x, kernels, beta, None, padding, *OPTIONS),
            eff.eff_kernel_quotient_fwd(x, x.flip(3), beta, *kernels.shape[-2:], *OPTIONS))


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("form", ["scatter", "gather"])
def test_bits_do_not_depend_on_threads_or_on_the_other_images(form, padding, threads):
    x, kernels = data()
    threads(1)
    one = everything(x, kernels, form, padding)
    for count in (2, 3, 7):
        threads(count)
        assert all(torch.equal(a, b) for a, b in zip(one, everything(x, kernels, form, padding), strict=True))
    many = torch.cat([x, x + 1, x])[:, :1]
    alone = eff.eff_fwd(x[:, :1], kernels[:, :1], form, padding, *OPTIONS)
    assert torch.equal(eff.eff_fwd(many, kernels[:, :1], form, padding, *OPTIONS)[:2], alone)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (2, 3)])
@pytest.mark.parametrize("form", ["scatter", "gather"])
def test_kept_spectra_give_the_same_bits(form, shape, dtype):
    x, kernels = data(kb=shape[0], kc=shape[1], dtype=dtype)
    spectra = eff.eff_spectra(kernels, form, "reflect", EFFGrid(x.shape[-2:], GRID))
    for op in (eff.eff_fwd, eff.eff_adjoint):
        assert torch.equal(op(x, kernels, form, "reflect", *OPTIONS, spectra=spectra), op(x, kernels, form, "reflect", *OPTIONS))


@pytest.mark.parametrize("view", ["channels_last", "every other", "flipped", "expanded"])
def test_any_strides(view):
    x, kernels = data()
    seen = {"channels_last": x.to(memory_format=torch.channels_last), "every other": torch.cat([x, x], 3)[..., ::2],
            "flipped": x.flip(2), "expanded": x[:1, :1].expand(2, 3, -1, -1)}[view]
    assert torch.equal(eff.eff_fwd(seen, kernels, "scatter", "zeros", *OPTIONS),
                       eff.eff_fwd(seen.contiguous(), kernels, "scatter", "zeros", *OPTIONS))
    turned = kernels.transpose(3, 4).contiguous().transpose(3, 4)
    assert torch.equal(eff.eff_fwd(x, turned, "scatter", "zeros", *OPTIONS), eff.eff_fwd(x, kernels, "scatter", "zeros", *OPTIONS))


def test_nan_stays_in_the_patches_that_see_it():
    x, kernels = data(b=1, c=2, kc=1)
    x[0, 0, 0, 0] = float("nan")
    y = eff.eff_fwd(x, kernels, "scatter", "zeros", *OPTIONS)
    assert y[0, 0].isnan().any() and not y[0, 1].isnan().any()
    rows, columns = (side + k for side, k in zip(EFFGrid(x.shape[-2:], GRID).patch_size, (9, 8)))
    assert not y[0, 0, rows:].isnan().any() and not y[0, 0, :, columns:].isnan().any()


def arguments():
    x, kernels = data(b=1, c=1, kc=1)
    size, rows, columns = eff._pair(EFFGrid(x.shape[-2:], GRID), (9, 8), convolution, "scatter", "zeros", x.dtype)
    return {"x": x.numpy(), "kernels": kernels.numpy(), "spectra": None, "result": np.zeros(x.shape, np.float32), "mode": "multiply",
            "size": size, "rows": rows, "columns": columns, "beta": None, "power": None, "threads": 1, "dtype": "float32"}


def replaced(tables, index, value):
    return (*tables[:index], value, *tables[index + 1:])


@pytest.mark.parametrize("name,change,match", [
    ("mode", lambda a: "add", "mode: expected"),
    ("mode", lambda a: "divide", "beta: is needed"),
    ("threads", lambda a: 0, "threads: expected"),
    ("dtype", lambda a: "float64", "x: expected an array of float64"),
    ("kernels", lambda a: a["kernels"][:, :, :-1], "size: expected a grid of 11"),
    ("kernels", lambda a: np.zeros((1, 1, 12, 90, 3), np.float32), "kernels: are larger"),
    ("result", lambda a: np.zeros((1, 2, 90, 110), np.float32), "result"),
    ("rows", lambda a: a["rows"][:5], "rows: expected"),
    ("rows", lambda a: replaced(a["rows"], 1, a["rows"][1] + 60), "rows.load: .* is not in -1..89"),
    ("columns", lambda a: replaced(a["columns"], 2, a["columns"][2] - 5), "columns.store: .* is not in -1..109"),
    ("columns", lambda a: replaced(a["columns"], 0, a["columns"][0] + 1), "columns.patch: 4 is not in 0..3"),
    ("rows", lambda a: replaced(a["rows"], 1, a["rows"][1].astype(np.int32)), "rows.load: expected contiguous int64"),
    ("rows", lambda a: replaced(a["rows"], 3, a["rows"][3][:, :-1].copy()), "load_taper"),
])
def test_a_bad_argument_is_named(name, change, match):
    good = arguments()
    _C.eff_apply(**good)
    with pytest.raises(ValueError, match=match):
        _C.eff_apply(**{**good, name: change(good)})


def test_spectra_at_an_odd_address_are_refused():
    good = arguments()
    values = _C.eff_values(good["size"], "float32")
    buffer = torch.zeros(12 * values + 16)
    shifted = buffer[1:12 * values + 1].view(1, 1, 12, values).numpy()
    with pytest.raises(ValueError, match="multiple of 64"):
        _C.eff_apply(**{**good, "spectra": shifted})
    with pytest.raises(ValueError, match="multiple of 64"):
        _C.eff_spectra(good["kernels"], shifted, good["size"], (0, 0), 1, "float32")
