"""Cases of SVMAP: one MAP step with filters that are there, and the whole model with its predictors. A blurred photograph, 30 steps of
conjugate gradients."""
import functools

import torch

import svconv
from svconv.models.svmap.model import FIRST_STEPS
from svconv.solvers.map_filters import map_step
from svconv.solvers.map_problem import MAPProblem, StepFilters

from ..peers import svmap as peers
from . import Case, bytes_of, no_grad, random

COUNT, KERNEL, BUDGET, START = 30, 31, 120.0, (0.01, FIRST_STEPS)
LARGE, MIDDLE, SMOKE = (800, 1024), (400, 512), (40, 48)      # `unfold` takes minutes where the image is large


@functools.cache
def model():
    torch.manual_seed(0)
    return svconv.models.SVMAP(tol=0, max_iter=COUNT)


def blurred(size, device):
    side = KERNEL if size != SMOKE else 7
    k = svconv.data.motion_kernel(side, generator=torch.Generator().manual_seed(side))[None].to(device)
    smooth = svconv.conv(random((1, 3, *size), device, 1), torch.full((1, 9, 9), 1 / 81, device=device), padding="reflect")
    return {"y": svconv.conv(smooth, k, padding="reflect"), "k": k}


def with_filters(size, device):
    """Filters as the untrained net predicts them, by noise."""
    given = blurred(size, device)
    shape = 1, 3, 5, 5, *size
    bank = model().prior[0].layers[-1].bias.detach().reshape(3, 5, 5, 5)
    prior = bank[None, ..., None, None] + 0.004 * random((1, 3, 5, 5, 5, *size), device, 2, low=-1.0)
    data = 0.02 * random((*shape[:2], 3, *shape[3:4], 5, *size), device, 3, low=-1.0)
    data[:, :, 0, 2, 2] += 1
    return given | {"data_filters": data, "prior_filters": prior}


def step(v, backend=None, steps=COUNT):
    problem = MAPProblem(v["y"], v["k"])
    x0 = problem.first(*START)

    def call():
        return map_step(problem, StepFilters(v["data_filters"], v["prior_filters"]), x0=x0, tol=0, max_iter=steps).extended

    return no_grad(call)


def step_by_hand(gram):
    def factory(v):
        problem = MAPProblem(v["y"], v["k"])
        x0 = problem.first(*START)
        return no_grad(lambda: peers.map_step(problem, v["data_filters"], v["prior_filters"], x0, COUNT, gram))
    return factory


def reading(v):
    """The data and prior filters read once."""
    return no_grad(lambda: (v["data_filters"].sum(), v["prior_filters"].sum()))


def transforms(v):
    """The transforms of the steps alone, two forth and two back in each."""
    problem = MAPProblem(v["y"], v["k"])
    x, size = problem.start, problem.plane.size

    def call():
        for _ in range(2 * COUNT):
            torch.fft.irfft2(torch.fft.rfft2(x), s=size)

    return no_grad(call)


def predictors(v):
    """The networks of both iterations alone."""
    def call():
        for i in range(model().arguments["iterations"]):
            model().step_filters(i % model().nets, v["y"], v["y"])

    return no_grad(call)


def operations(filters):
    return lambda v: (COUNT + 1) * 4 * filters * v["y"].numel()


def cases():
    for size, smoke in ((MIDDLE, False), (LARGE, False), (SMOKE, True)):
        text = f"{size[0]} x {size[1]} RGB, {COUNT} steps"
        yield Case("svmap", "MAP step", text, functools.partial(with_filters, size), step,
                   read=bytes_of("y", "k", "data_filters", "prior_filters"), written=bytes_of("y"), flops=operations(200),
                   peers={name: step_by_hand(gram) for name, gram in peers.GRAMS.items()}, references={"transforms": transforms},
                   targets=(("vs unfold and einsum", ">=", 10), ("vs shift loop", ">=", 2.5)), tolerance=1e-3, budget=BUDGET, smoke=smoke,
                   gpu=False)
    for size, smoke in ((MIDDLE, False), (LARGE, False), (SMOKE, True)):
        text = f"{size[0]} x {size[1]} RGB, T = 2, {COUNT} steps each"
        yield Case("svmap", "SVMAP", text, functools.partial(blurred, size),
                   lambda v, backend=None: no_grad(lambda: model()(v["y"], v["k"])), read=bytes_of("y", "k"), written=bytes_of("y"),
                   flops=operations(400),
                   peers={name: lambda v, gram=gram: no_grad(lambda: peers.restore(model(), START, v["y"], v["k"], COUNT, gram))
                          for name, gram in peers.GRAMS.items()},
                   references={"predictors": predictors}, targets=(("vs unfold and einsum", ">=", 3),), tolerance=1e-3, budget=BUDGET,
                   smoke=smoke, gpu=False)
