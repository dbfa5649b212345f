"""Progress bars: a part per solve, never beyond the end, on a terminal only, none with --quiet."""
import io
import types

import pytest
import torch
import tqdm

import svconv
from svconv.cli import deblur, demo, main, memory, progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def seen(monkeypatch):
    """(steps done, steps in all) after every movement of a bar on a terminal."""
    moves = []

    class Recorder(tqdm.tqdm):
        def update(self, n=1):
            super().update(n)
            moves.append((self.n, self.total))

    monkeypatch.setattr(tqdm, "tqdm", Recorder)
    monkeypatch.setattr(progress, "sys", types.SimpleNamespace(stderr=Terminal()))
    return moves


def check(moves, total):
    done = [n for n, _ in moves]
    assert moves and done == sorted(done) and all(n <= of for n, of in moves) and moves[-1] == (total, total)


@pytest.mark.parametrize("method", memory.SOLVERS)
def test_three_colours_that_use_all_their_steps(seen, tmp_path, photo_file, kernel_file, monkeypatch, method):
    monkeypatch.setattr(deblur, "CG_ITER", 3)  # too few to converge
    assert main(["deblur", str(photo_file), "--kernel", str(kernel_file), "--method", method, "-o", str(tmp_path / "out.png")]) == 0
    steps = {"irls": 9, "cg": 3, "hyper": 6}[method]
    check(seen, 3 * steps)
    assert {n for n, _ in seen} == set(range(1, 3 * steps + 1)) and {of for _, of in seen} == {3 * steps}


def test_solves_that_end_early_or_announce_other_numbers(seen):
    with progress.bar("", 3) as begin:
        for steps, last in ((10, 4), (5, 5), (8, 1)):
            callback = begin()
            for step in range(1, last + 1):
                callback(step, steps, None)
    check(seen, 23)
    assert seen[3:5] == [(4, 30), (11, 20)]  # the second solve begins where the first would have ended


def test_solves_of_one_step(seen):
    x, k = torch.rand(1, 1, 9, 9), torch.ones(1, 1, 3, 3) / 9
    with progress.bar("", 3) as begin:
        for _ in range(3):
            svconv.solvers.wiener(svconv.Conv(k, padding="circular"), x, beta=1e-2, callback=begin())
    assert seen == [(1, 3), (2, 3), (3, 3), (3, 3)]


def test_a_solve_that_fails_does_not_fill_the_bar(seen):
    with pytest.raises(KeyError), progress.bar("") as begin:
        begin()(2, 10, None)
        raise KeyError
    assert seen == [(2, 10)]


@pytest.mark.parametrize(
    "command", ["deblur photo.png --kernel kernel.npy", "deblur photo.png --blind --method l0 --kernel-size 3", "demo --size 68"]
)
def test_bars_are_for_terminals(command, tmp_path, photo_file, kernel_file, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(deblur, "CG_ITER", 2)
    monkeypatch.setattr(demo, "CG_ITER", 2)
    command = [*command.split(), "-o", "out.png"]
    assert main(command) == 0 and capsys.readouterr().err == ""  # stderr is no terminal here
    for more, shown in (([], True), (["--quiet"], False)):
        terminal = Terminal()
        monkeypatch.setattr(progress, "sys", types.SimpleNamespace(stderr=terminal))
        assert main([*command, *more]) == 0
        assert ("restoring" in terminal.getvalue()) == shown and bool(terminal.getvalue()) == shown
