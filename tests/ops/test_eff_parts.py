"""A grid seen through a rectangle, and the ops on tiles: pixel for pixel what they give on the whole image."""
import pickle

import pytest
import torch

import svconv
from oracles import PADDINGS
from svconv import EFFGrid, _tiles
from svconv._eff_grid import grid_of
from svconv.ops._eff_tiles import OPS, EFFTile

F64 = torch.float64
GRIDS = [((41, 50), (3, 4), 0.5), ((33, 29), (1, 1), 0.5), ((40, 36), (5, 2), 0.8), ((30, 47), (7, 9), 0.0)]


@pytest.mark.parametrize("size, patches, overlap", GRIDS)
@pytest.mark.parametrize("rows, columns", [((0, 20), (3, 29)), ((10, 11), (5, 29)), ((-7, 25), (-3, 40)), ((12, 95), (0, 9))])
def test_a_part_has_the_windows_of_the_whole(size, patches, overlap, rows, columns):
    grid = EFFGrid(size, patches, overlap=overlap)
    part = grid.part(rows, columns)
    assert part.image_size == (rows[1] - rows[0], columns[1] - columns[0]) and part.patches == len(part.indices)
    whole = grid.row_windows[:, :, None, None] * grid.col_windows       # [rows, H, columns, W]
    whole = whole.permute(0, 2, 1, 3).flatten(0, 1)[:, torch.arange(*rows) % size[0]][..., torch.arange(*columns) % size[1]]
    seen = (part.row_windows[:, None, :, None] * part.col_windows[:, None]).flatten(0, 1)
    torch.testing.assert_close(torch.zeros_like(whole).index_add_(0, part.indices, seen), whole, atol=0, rtol=0)
    torch.testing.assert_close(seen.sum(0), torch.ones(part.image_size, dtype=F64), atol=1e-15, rtol=0)


def test_only_patches_that_are_used_and_a_part_is_a_value():
    grid = EFFGrid((64, 64), (4, 4))
    part = grid.part((10, 50), (0, 64), ((30, 31), (0, 64)))
    assert part.patches == 8 and part.row_windows.shape == (2, 40) and bool((part.row_windows[:, 20] > 0).any())
    assert grid_of(part.image_size, *part.options) == part == pickle.loads(pickle.dumps(part)) and part != grid and grid != part
    assert hash(part) == hash(grid.part((10, 50), (0, 64), ((30, 31), (0, 64)))) and part != grid.part((10, 50), (0, 64))
    assert repr(part) == repr(grid) + ".part((10, 50), (0, 64), used=((30, 31), (0, 64)))"
    with pytest.raises(ValueError, match="rows: expected pixels first < stop with those that are used inside"):
        grid.part((10, 50), (0, 64), ((5, 31), (0, 64)))
    with pytest.raises(ValueError, match="columns: expected pixels first < stop"):
        grid.part((10, 50), (7, 7))
    with pytest.raises(ValueError, match="part: expected a whole grid"):
        part.part((0, 2), (0, 2))


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("name, form", [("eff_conv", "scatter"), ("eff_conv", "gather"), ("eff_conv_adjoint", "scatter"),
                                        ("eff_conv_adjoint", "gather"), ("eff_image_quotient", None)])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("size, patches, overlap, k, side", [
    ((41, 50), (3, 4), 0.5, (5, 4), 17), ((33, 29), (1, 1), 0.5, (3, 6), 10), ((30, 37), (7, 9), 0.0, (9, 11), 12),
    ((24, 26), (12, 13), 0.75, (7, 7), 5), ((9, 8), (2, 2), 0.5, (9, 8), 4)])
def test_tiles_equal_the_whole(backend, name, form, padding, size, patches, overlap, k, side):
    generator = torch.Generator().manual_seed(0)
    grid = EFFGrid(size, patches, overlap=overlap)
    x = torch.randn(2, 2, *size, dtype=F64, generator=generator)
    kernels = torch.rand(1, 2, grid.patches, *k, dtype=F64, generator=generator)
    options = {"padding": padding} | ({"form": form} if form else {"beta": 0.1})
    with svconv.use_backend(backend):
        whole, tiled = OPS[name](x, kernels, grid, **options), torch.full_like(x, torch.nan)
        for rows, columns in _tiles.plan(size, side):
            tile = EFFTile(name, grid, k, rows.own, columns.own, **options)
            seen = torch.cat([x[..., part, :] for part in _tiles.turns(*tile.rows, size[0])], -2)
            seen = torch.cat([seen[..., part] for part in _tiles.turns(*tile.columns, size[1])], -1)
            tiled[..., slice(*rows.own), slice(*columns.own)] = tile.run(seen, kernels[:, :, tile.grid.indices])
    torch.testing.assert_close(tiled, whole, atol=1e-12 * float(whole.abs().max()), rtol=0)


def test_a_tile_of_many_small_patches_is_small():
    grid = EFFGrid((16384, 16384), (255, 255))
    for name in OPS:
        tile = EFFTile(name, grid, (31, 31), (4096, 6144), (0, 2048), **({"beta": 1} if name == "eff_image_quotient" else {}))
        assert max(tile.grid.image_size) <= 2048 + 2 * (128 + 64) and tile.grid.patches < 35 * 35


PARTS = [((-4, 15), (6, 20)), ((3, 5), (0, 24)), ((11, 20), (17, 24)), ((0, 20), (-2, 40))]


@pytest.mark.parametrize("rows, columns", PARTS)
def test_cut_patches_are_the_same_on_every_backend_and_have_gradients(rows, columns):
    grid = EFFGrid((20, 24), (3, 3)).part(rows, columns)
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(1, 2, *grid.image_size, dtype=F64, generator=generator).requires_grad_() for _ in range(2))
    k = torch.rand(1, 1, grid.patches, 2, 2, dtype=F64, generator=generator).requires_grad_()
    calls = [(lambda *t: svconv.eff_conv(*t, grid, padding="reflect"), (x, k)),
             (lambda *t: svconv.eff_conv_adjoint(*t, grid, form="gather", padding="symmetric"), (y, k)),
             (lambda *t: svconv.eff_image_quotient(*t, grid, beta=0.1), (y, k)),
             (lambda *t: svconv.eff_kernel_quotient(*t, grid, 2, beta=0.1), (x, y))]
    for function, inputs in calls:
        found = []
        for backend in ("cpu", "reference"):
            with svconv.use_backend(backend):
                found.append(function(*inputs))
                assert torch.autograd.gradcheck(function, inputs, fast_mode=True)
        torch.testing.assert_close(*found)


def test_a_part_has_gradients():
    grid = EFFGrid((20, 24), (3, 3)).part((-4, 15), (6, 20), ((2, 12), (6, 20)))
    x = torch.randn(1, 1, 19, 14, dtype=F64, requires_grad=True)
    kernels = torch.rand(1, 1, grid.patches, 3, 3, dtype=F64, requires_grad=True)
    for form in ("scatter", "gather"):
        assert torch.autograd.gradcheck(lambda x, k, form=form: svconv.eff_conv(x, k, grid, form=form, padding="reflect"), (x, kernels))
    assert torch.autograd.gradcheck(lambda y, k: svconv.eff_image_quotient(y, k, grid, beta=0.1), (x, kernels))
