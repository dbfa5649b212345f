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
    """(stem, mode) -> the Emulator of all kernels of a stem."""
    made = {}

    def get(stem, mode):
        if (stem, mode) not in made:
            kernels = importlib.import_module(f"svconv.backends.cuda.{stem}").KERNELS
            made[stem, mode] = Emulator(folder() / "cuda" / f"{stem}.cuh", kernels, mode, emulation_workplace)
        return made[stem, mode]

    return get


@pytest.fixture
def emulated(monkeypatch, emulator):
    """emulated(stem, mode, order) -> the module of the op's CUDA implementations, whose launches run on the CPU from then on."""
    def use(stem, mode="plain", order=ORDERS[0]):
        program = emulator(stem, mode)
        monkeypatch.setattr(launch.Launch, "__call__", lambda self, device: self.blocks and program.run(self, order))
        return importlib.import_module(f"svconv.backends.cuda.{stem}")

    return use
