"""PyLops' tests of its convolutions, with its constructors replaced by those of svconv.interop.pylops. A plugin of pytest for
`.ci/interop`."""
from peers_report import Peer

from svconv.interop import pylops

REPLACED = ("Convolve2D", "NonStationaryConvolve2D", "NonStationaryFilters2D")


def _ours(item):
    return bool({*REPLACED} & {*item.function.__code__.co_names})


peer = Peer("of one or three dimensions, calls none of what is replaced", _ours)


def pytest_configure(config):
    config.pluginmanager.register(peer)


def pytest_pycollect_makeitem(collector, name, obj):
    if name in REPLACED:
        setattr(collector.obj, name, peer.counted(getattr(pylops, name)))
