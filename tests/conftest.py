"""Fixtures, options and the closing summary of what a run did not verify."""
import collections
import os
from pathlib import Path

import pytest
import torch

_not_verified = collections.Counter()
_NEEDS_DATA = "the development data (SVCONV_DATA) is not here"
_DATA_FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data"
# What --strict-skips accepts: the beginnings of reasons that lie in the machine or the command, not in the installation.
_EXPECTED_SKIPS = ("needs an NVIDIA GPU", "this machine has a GPU", "long sweep, run with --slow", "runs in a process of its own",
                   "this machine has no nvcc", "needs cupy-cuda12x and nvidia-cuda-nvrtc-cu12 from the extra dev")


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run the long random sweeps too")
    parser.addoption("--strict-skips", action="store_true", help="fail if a test is skipped for want of anything but a GPU or --slow")
    parser.addoption("--sweep-seed", type=int, default=0, help="seed of the random sweeps")


def pytest_collection_modifyitems(config, items):
    for item in items:
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="needs an NVIDIA GPU"))
        if item.get_closest_marker("slow") and not config.getoption("--slow"):
            item.add_marker(pytest.mark.skip(reason="long sweep, run with --slow"))


def _note(report):
    if report.skipped and isinstance(report.longrepr, tuple):
        _not_verified[report.longrepr[2].removeprefix("Skipped: ")] += 1


pytest_runtest_logreport = _note
pytest_collectreport = _note        # a module that is skipped as a whole


def _unexpected():
    accepted = _EXPECTED_SKIPS
    if "SVCONV_DATA" not in os.environ and not _DATA_FOLDER.parent.exists():
        accepted += (_NEEDS_DATA,)
    return [reason for reason in _not_verified if not reason.startswith(accepted)]


def pytest_sessionfinish(session):
    if session.config.getoption("--strict-skips") and _unexpected() and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    refused = _unexpected() if config.getoption("--strict-skips") else []
    if _not_verified:
        terminalreporter.section("not verified in this run")
        for reason, count in sorted(_not_verified.items()):
            terminalreporter.line(f"{count:5d} tests: {reason}{'   REFUSED by --strict-skips' if reason in refused else ''}")


@pytest.fixture(scope="session", autouse=True)
def _away_from_the_checkout(tmp_path_factory):
    """Child processes start in an empty folder: in the checkout they would import its sources instead of the installed package."""
    before = os.getcwd()
    os.chdir(tmp_path_factory.mktemp("cwd"))
    yield
    os.chdir(before)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def shared_data():
    """The folder of development photographs, kernels and PSF grids; tests that need it skip without it."""
    folder = Path(os.environ.get("SVCONV_DATA", _DATA_FOLDER))
    if not folder.is_dir():
        pytest.skip(_NEEDS_DATA)
    return folder


@pytest.fixture
def nan_memory(monkeypatch):
    """Fills what `torch.empty` and `Tensor.new_empty` return with NaN, so that a pixel nobody wrote is found."""
    empty, new_empty, empty_like = torch.empty, torch.Tensor.new_empty, torch.empty_like

    def filled(make):
        def wrapper(*args, **kwargs):
            t = make(*args, **kwargs)
            return t.fill_(float("nan")) if t.is_floating_point() else t
        return wrapper

    monkeypatch.setattr(torch, "empty", filled(empty))
    monkeypatch.setattr(torch.Tensor, "new_empty", filled(new_empty))
    monkeypatch.setattr(torch, "empty_like", filled(empty_like))


@pytest.fixture
def one_thread():
    """Where the images are small: on a busy machine several threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
