"""The CUDA kernels on the CPU: their launches run in programs that the host compiler made."""
import importlib

import pytest

from cuda_emulation.emulator import ORDERS, Emulator, why_not
from svconv.backends.cuda import launch
from svconv.backends.cuda.source import folder


@pytest.fixture(scope="session")
def emulation_workplace(tmp_path_factory):
    if why_not():
        pytest.skip(why_not())
    return tmp_path_factory.mktemp("emulation")


@pytest.fixture(scope="session")
def emulator(emulation_workplace):
    """(stem, mode, kernels) -> the Emulator of these or of all kernels of a stem."""
    made = {}

    def get(stem, mode, kernels=None):
        if (stem, mode, kernels) not in made:
            names = kernels or importlib.import_module(f"svconv.backends.cuda.{stem}").KERNELS
            made[stem, mode, kernels] = Emulator(folder() / "cuda" / f"{stem}.cuh", names, mode, emulation_workplace)
        return made[stem, mode, kernels]

    return get


@pytest.fixture
def emulated(monkeypatch, emulator):
    """emulated(stem, mode, order) -> the module of the op's CUDA implementations, whose launches run on the CPU from then on.

    kernels: a tuple of the names that are needed, where the rest would only take time to build.
    """
    def use(stem, mode="plain", order=ORDERS[0], kernels=None):
        program = emulator(stem, mode, kernels)
        monkeypatch.setattr(launch.Launch, "__call__", lambda self, device: self.blocks and program.run(self, order))
        return importlib.import_module(f"svconv.backends.cuda.{stem}")

    return use
