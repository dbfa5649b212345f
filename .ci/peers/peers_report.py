"""What of a peer's tests runs on svconv and what does not: counted, and named with its reason. For the plugins of `.ci/interop`."""
import collections
import functools

import pytest


class Peer:
    """A plugin that keeps the tests which `keeps(item)` and prints the others, in the order of the file, with `reason`.

    A run in which no test made an operator of ours fails.
    """

    def __init__(self, reason, keeps):
        self.reason, self.keeps, self.deselected, self.made = reason, keeps, collections.Counter(), collections.Counter()

    def counted(self, make):
        """`make`, which makes an operator of ours."""
        @functools.wraps(make)
        def wrapped(*args, **kwargs):
            self.made[make.__name__] += 1
            return make(*args, **kwargs)
        return wrapped

    def pytest_collection_modifyitems(self, config, items):
        others = [item for item in items if not self.keeps(item)]
        self.deselected.update(f"{item.path.name}::{item.originalname}" for item in others)
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if self.keeps(item)]

    def pytest_sessionfinish(self, session):
        if not self.made and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter):
        terminalreporter.section(f"deselected: {self.reason}")
        for name, count in self.deselected.items():
            terminalreporter.line(f"{count:5d} {name}: {self.reason}")
        terminalreporter.section("made by svconv in these tests")
        for name, count in self.made.items():
            terminalreporter.line(f"{count:5d} {name}")
