"""bench/svmap_gradients.py on random pairs."""
import warnings

import torch

from bench import svmap_gradients
from svconv.models import SVMAP


def batch():
    torch.manual_seed(0)
    sharp, kernel = torch.rand(2, 3, 24, 24), torch.full((2, 1, 3, 3), 1 / 9)
    return sharp.roll(1, -1), sharp, kernel


def test_gradients_of_solves_that_stop_early_are_compared_with_those_of_converged_ones():
    torch.manual_seed(1)
    model = SVMAP(width=4)
    before = dict(model.arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        head, *rows = svmap_gradients.stopped_early(model, batch(), 100)
    assert "| data 1 | data 2 | prior 1 | prior 2 |" in head and model.arguments == before
    cells = {tuple(row.split(" | ")[:3]): [tuple(map(float, cell.strip(" |").split(", "))) for cell in row.split(" | ")[3:]]
             for row in rows}
    assert len(cells) == len(svmap_gradients.CASES) and all(len(found) == 4 for found in cells.values())
    assert all(cosine > 0.9 for cosine, _ in cells["| 60", "implicit", "yes"])


def test_gradients_of_single_pairs():
    torch.manual_seed(1)
    _, *rows = svmap_gradients.single_pairs(SVMAP(width=4, max_iter=5), list(zip(*batch())))
    assert len(rows) == 8
    for row in rows:
        ratio, signal, unit = map(float, row.strip("| ").split(" | ")[2:])
        assert ratio >= 1 and 0 <= signal <= 1.001 and 0 <= unit <= 1.001
