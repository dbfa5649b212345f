"""deepinv's test_physics.py on adapted operators: its list of operators is replaced by ours. A plugin of pytest for `.ci/interop`."""
import functools

import torch
from peers_report import Peer

import svconv
from svconv.interop.deepinv import as_physics
from svconv.operators import Conv, DiskBlur, EFFBlur, PixelFilter

PADDINGS = {"zeros": "zeros", "edge": "replicate", "mirror": "reflect", "symmetric": "symmetric", "circular": "circular"}


def _ours(item):
    return hasattr(item, "callspec") and item.callspec.params.get("name") in OPERATORS


peer = Peer("runs on operators of deepinv that no adapter replaces", _ours)


def pytest_configure(config):
    config.pluginmanager.register(peer)


def pytest_pycollect_makeitem(collector, name, obj):
    """Tests over all of deepinv's operators run over ours. The names in the list are theirs, so that it is known by its first entry."""
    for mark in getattr(obj, "pytestmark", ()):
        if mark.name == "parametrize" and mark.args[0] == "name" and "CS" in mark.args[1]:
            mark.args[1][:] = [*OPERATORS]
            collector.obj.find_operator = peer.counted(find_operator)


# operators ----------------------------------------------------------------------------------------------------------
# Their names avoid those words by which the tests leave an operator of deepinv's out.

def _random(*shape):
    t = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    return t / t.sum((-2, -1), keepdim=True)


def _filters(size, *shape):
    t = torch.rand(*shape, *size, generator=torch.Generator().manual_seed(0))
    return t / t.sum((-4, -3), keepdim=True)


def _disk(size, **options):
    return DiskBlur(2.4 * torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(0)), **options)


def _eff(size, *shape, **options):
    return EFFBlur(_random(*shape), svconv.EFFGrid(size, (2, 3)), **options)


OPERATORS = {
    **{f"conv_{name}": lambda size, padding=padding: Conv(_random(1, 1, 3, 3), padding) for name, padding in PADDINGS.items()},
    "conv_even": lambda size: Conv(_random(1, 1, 4, 2)),
    "conv_channels": lambda size: Conv(_random(1, 3, 3, 4)),
    "conv_inside": lambda size: as_physics(Conv(_random(1, 1, 5, 4)), padding="valid"),
    **{f"pixel_filter_{name}": lambda size, padding=padding: PixelFilter(_filters(size, 1, 3, 3), padding)
       for name, padding in PADDINGS.items()},
    "pixel_filter_bank": lambda size: PixelFilter(_filters(size, 1, 3, 2, 3, 2) / 2 ** 0.5, "reflect"),
    "pixel_filter_inside": lambda size: as_physics(PixelFilter(_filters(size, 1, 3, 4)), padding="valid"),
    "pixel_filter_scatter": lambda size: PixelFilter(_filters(size, 1, 3, 3)).T,
    **{f"eff_{name}": lambda size, padding=padding: _eff(size, 1, 6, 3, 3, padding=padding) for name, padding in PADDINGS.items()},
    "eff_gather": lambda size: _eff(size, 1, 6, 3, 4, form="gather", padding="reflect"),
    "eff_channels": lambda size: _eff(size, 1, 3, 6, 3, 3),
    "disk_gather": lambda size: _disk(size),
    "disk_scatter": lambda size: _disk(size, form="scatter", padding="reflect"),
    "product": lambda size: Conv(_random(1, 1, 2, 3)) @ _disk(size),
    "sum": lambda size: 0.5 * (Conv(_random(1, 1, 3, 3)) + PixelFilter(_filters(size, 1, 3, 3))),
    "scaled": lambda size: torch.tensor(0.7) * Conv(_random(1, 1, 3, 3)),
    "stack": lambda size: svconv.stack([Conv(_random(1, 1, 3, 3)), _eff(size, 1, 6, 3, 3)]) / 2 ** 0.5,
}


def find_operator(name, device, imsize=None, get_physics_param=False):
    """As deepinv's: (physics, size of its image, its squared norm, dtype, the names of its tensors if asked for)."""
    size = (3, 16, 8) if imsize is None else tuple(imsize)
    made = OPERATORS[name](size[-2:])
    physics = (made if isinstance(made, torch.nn.Module) else as_physics(made, img_size=size)).to(device)
    found = physics, size, _squared_norm(name, size), torch.float
    return (*found, [*physics.state_dict()]) if get_physics_param else found


@functools.cache
def _squared_norm(name, size):
    """By Lanczos iteration, which is no part of the adapter."""
    made = OPERATORS[name](size[-2:])
    op = made.operator if isinstance(made, torch.nn.Module) else made
    return op.norm(size if len(size) > 3 else (1, *size)) ** 2
