"""A pytest plugin that keeps a line per test: `pytest -p bench.journal --journal FILE`. What a killed run found is in the file.

Lines are JSON: {"test", "begin"} before a test and {"test", "outcome", "seconds", "error"} behind it; processes of pytest-xdist append to
the same file. A worker whose device is lost to a CUDA error ends itself, so that the next tests run in a fresh one.
"""
import json
import os

import pytest

LOST = ("CUDA error", "CUDA driver error", "an illegal memory access", "unspecified launch failure")


def pytest_addoption(parser):
    parser.addoption("--journal", metavar="FILE", help="append a JSON line to FILE before and behind every test")


def pytest_configure(config):
    path = config.getoption("--journal")
    if path:
        config.pluginmanager.register(Journal(os.path.abspath(path), hasattr(config, "workerinput"), hasattr(config, "workerinput") or
                                              not getattr(config.option, "numprocesses", None)))


class Journal:
    """writes: whether tests run in this process (not in the one that hands them to workers)."""

    def __init__(self, path, is_worker, writes):
        self.path, self.is_worker, self.writes, self.lost = path, is_worker, writes, False

    def line(self, **entry):
        if self.writes or entry.get("error", "").startswith("worker "):      # of a worker that died nobody else can tell
            with open(self.path, "a") as file:
                file.write(json.dumps(entry) + "\n")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self, nodeid):
        self.line(test=nodeid, begin=True)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report):
        if report.when == "call" or report.outcome != "passed":
            text = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
            self.lost = self.lost or (report.failed and any(words in text for words in LOST))
            self.line(test=report.nodeid, outcome=report.outcome, seconds=round(report.duration, 2), error=said(text))

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logfinish(self):
        if self.lost and self.is_worker:
            os._exit(70)

    def pytest_collectreport(self, report):
        if report.failed:
            self.line(test=report.nodeid or "collection", outcome="failed", seconds=0, error=said(report.longreprtext))


def said(text):
    """The line of a report that says what is wrong: the first that pytest marks with E, else the last one."""
    lines = [line for line in text.splitlines() if line.strip()]
    return next((line[1:].strip() for line in lines if line.startswith("E ")), lines[-1] if lines else "")[:300]
