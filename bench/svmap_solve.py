"""What makes the solve of a MAP step cheap: every attempt with its time and what it does to the solution.

    python bench/svmap_solve.py                    all attempts, some minutes; writes the section into docs/models/svmap_solve.md
    python bench/svmap_solve.py --part products    one of: products, steps, training, preconditioners; prints it alone
    python bench/svmap_solve.py --smoke            tiny sizes, seconds; writes nothing

Photographs and kernels come from the development data (SVCONV_DATA, by default ../shared/data beside the checkout). Ratios are medians over
rounds in which all candidates of a table run one after the other.
"""
import argparse
import dataclasses
import functools
import statistics
import sys
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))      # last: an installed svconv goes before the checkout

from bench import development_data, measure, pages, svmap_scene as scene
from svconv.operators.division import transform, untransform
from svconv.ops import image_quotient, pixel_filter_gram, pixel_filter_stencil
from svconv.ops.pixel_filter_stencil import GramStencil
from svconv.solvers import conjugate_gradients, map_filters
from svconv.solvers.map_preconditioner import circulant_inverse
from svconv.solvers.map_problem import MAPProblem, StepFilters

PAGE, SECTION = ROOT / "docs" / "models" / "svmap_solve.md", "attempts"
HALF = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class ProcessorStopwatch:
    """Seconds of the processor of one call: what other programs take meanwhile does not count."""

    def __call__(self, call):
        begun = time.process_time()
        result = call()
        seconds = time.process_time() - begun
        del result
        return seconds


def rounds(candidates, options, count):
    stopwatch = ProcessorStopwatch() if torch.get_num_threads() == 1 else measure.CPUStopwatch()
    samples, failed = measure.interleave(candidates, stopwatch, rounds=count, budget=options.budget)
    if failed:
        sys.exit(f"bench/svmap_solve.py: {failed}")
    return samples


def table(samples, head, more=None):
    """Rows of a table, ratios against the first candidate; more: name -> further columns."""
    first = next(iter(samples))
    lines = [f"| {head} | ms | times the first |{''.join(f' {title} |' for title in (more or {}).get('head', ()))}",
             "| --- | ---: | ---: |" + " ---: |" * len((more or {}).get("head", ()))]
    for name, seconds in samples.items():
        extra = "".join(f" {text} |" for text in (more or {}).get(name, ()))
        lines.append(f"| {name} | {1e3 * statistics.median(seconds):.1f} | {measure.ratio(seconds, samples[first]):.2f} |{extra}")
    return lines


class Terms:
    """The normal operator of one problem with its two terms as they are asked for."""

    def __init__(self, problem, data, prior):
        self.problem, self.data, self.prior = problem, data, prior

    def normal(self, x):
        plane, op = self.problem.plane, self.problem.op
        return op.adjoint(plane.leave_adjoint(self.data(plane.leave(op(x))))) + self.prior(x)

    def right_hand_side(self):
        plane, op = self.problem.plane, self.problem.op
        return op.adjoint(plane.leave_adjoint(self.data(self.problem.y)))


def circulant(problem, data, prior):
    """r -> M^-1 r with two transforms."""
    inverse, size = circulant_inverse(problem.op.spectrum, problem.plane.size, data, prior), problem.plane.size
    return lambda r: untransform(transform(r) * inverse, size)


def by_filters(problem, data, prior, dtype=None):
    data, prior = (t if dtype is None else t.to(dtype) for t in (data, prior))
    return Terms(problem, functools.partial(pixel_filter_gram, filters=data),
                 functools.partial(pixel_filter_gram, filters=prior, padding="replicate"))


def by_stencil(problem, data, prior, dtype=None):
    return Terms(problem, GramStencil(data, dtype=dtype), GramStencil(prior, padding="replicate", dtype=dtype))


@functools.cache
def prepared(height, width):
    """(sharp, problem, x^0 on the plane, data filters, prior filters on the plane)."""
    sharp, y, k = scene.pair(scene.PHOTOGRAPHS[0], scene.KERNELS[2], height, width)
    problem = MAPProblem(y, k)
    x0 = problem.extended(image_quotient(y, k, beta=0.02, prior="gradient", padding="replicate"))
    data, prior = scene.filters(problem.plane.leave(x0))
    return sharp, problem, x0, data, problem.continued(prior).contiguous()


def products(options):
    """One application of each term, and the parts of an iteration."""
    _, problem, x0, data, prior = prepared(*((96, 112) if options.smoke else (800, 1024)))
    size = problem.plane.size
    image, half = problem.plane.leave(x0).contiguous(), {name: (data.to(d), prior.to(d)) for name, d in HALF.items()}
    stencils = {name: (GramStencil(data, dtype=d), GramStencil(prior, padding="replicate", dtype=d))
                for name, d in (("float32", None), *HALF.items())}
    b, scratch = x0.clone(), torch.empty_like(x0)
    yield f"### One application, {image.shape[-2]} x {image.shape[-1]} RGB, plane {size[0]} x {size[1]}, {threads()}\n"
    candidates = {"prior term, 5 filters float32": lambda: pixel_filter_gram(x0, prior, padding="replicate"),
                  **{f"prior term, filters {n}": lambda n=n: pixel_filter_gram(x0, half[n][1], padding="replicate") for n in HALF},
                  **{f"prior term, stencil {n}": lambda n=n: stencils[n][1](x0) for n in stencils},
                  "data term, 3 filters float32": lambda: pixel_filter_gram(image, data),
                  **{f"data term, filters {n}": lambda n=n: pixel_filter_gram(image, half[n][0]) for n in HALF},
                  **{f"data term, stencil {n}": lambda n=n: stencils[n][0](image) for n in stencils},
                  "assembly, prior term": lambda: GramStencil(prior, padding="replicate"),
                  "assembly, prior term to bfloat16": lambda: GramStencil(prior, padding="replicate", dtype=torch.bfloat16),
                  "assembly, data term": lambda: GramStencil(data),
                  "K and K', two pairs of FFT": lambda: problem.op.adjoint(problem.op(x0)),
                  "one forward FFT": lambda: transform(x0),
                  "dots and updates of one iteration": lambda: vectors(x0, b, scratch)}
    yield from table(rounds(candidates, options, 9), "part")


def vectors(p, q, scratch):
    """What an iteration does beside A: two inner products, two updates, one combination."""
    one = torch.ones(p.shape[:2])
    conjugate_gradients.dots(p, q, scratch, 2)
    scratch.addcmul_(p, conjugate_gradients.column(one, p))
    q.addcmul_(p, conjugate_gradients.column(one, p), value=-1e-9)
    conjugate_gradients.dots(q, q, scratch, 2)
    torch.addcmul(q, p, conjugate_gradients.column(one, p), out=scratch)


def threads():
    return f"{torch.get_num_threads()} thread" + ("s" if torch.get_num_threads() > 1 else "")


def steps(options):
    """Thirty iterations from the closed form, as a whole."""
    height, width = (96, 112) if options.smoke else (400, 512)
    sharp, problem, x0, data, prior = prepared(height, width)
    count = 30

    def run(make, dtype=None, preconditioned=False):
        def call():
            with torch.no_grad():
                term = make(problem, data, prior, dtype)
                kind = circulant(problem, data, prior) if preconditioned else None
                return conjugate_gradients.solve(term.normal, term.right_hand_side(), x0, kind, tol=0, max_iter=count, apart=2).x
        return call

    candidates = {"filters float32": run(by_filters), "stencil float32": run(by_stencil),
                  **{f"filters {n}": run(by_filters, d) for n, d in HALF.items()},
                  **{f"stencil {n}": run(by_stencil, d) for n, d in HALF.items()},
                  "filters float32, preconditioned": run(by_filters, None, True),
                  "stencil float32, preconditioned": run(by_stencil, None, True),
                  "stencil float32, preconditioned, unknowns in the spectrum": lambda: in_spectra(problem, data, prior, count)(x0)}
    found = {name: call() for name, call in candidates.items()}
    more = {"head": ("change of x", "PSNR")}
    for name, x in found.items():
        base = found["filters float32, preconditioned" if "preconditioned" in name else "filters float32"]
        more[name] = f"{float((x - base).norm() / base.norm()):.1e}", f"{scene.psnr(problem.plane.leave(x), sharp):.3f}"
    yield f"\n### {count} iterations with their assembly, {height} x {width} RGB, kernel 31 x 31, {threads()}\n"
    yield from table(rounds(candidates, options, 5), "operator", more)


def in_spectra(problem, data, prior, count):
    """The same with half spectra as unknowns: four transforms in an iteration instead of six."""
    with torch.no_grad():
        tensors, bind = problem.terms(StepFilters(data, prior), count)
        step = bind(tensors)
        spectra, b = step.spectra(), step.right_hand_side()
        return lambda x0: conjugate_gradients.solve(step, b, x0, tol=0, max_iter=count, apart=2, coordinates=spectra).x


def training(options):
    """Forward and backward of one MAP step on a batch of crops."""
    batch, side = (2, 32) if options.smoke else (8, 80)
    pairs = [scene.pair(scene.PHOTOGRAPHS[i % 3], 17, side + 8 * i, side + 8 * i) for i in range(batch)]
    y, k = torch.cat([blurred[..., -side:, -side:] for _, blurred, _ in pairs]), pairs[0][2]
    data, prior = (t.requires_grad_() for t in scene.filters(y))
    upstream = torch.randn(y.shape, generator=torch.Generator().manual_seed(5))

    def run(stencil, half=None):
        def call():
            kept, pixel_filter_stencil.LEAST_APPLICATIONS = pixel_filter_stencil.LEAST_APPLICATIONS, 12 if stencil else 10 ** 9
            try:
                x = map_filters(y, k, *(t if half is None else t.to(half) for t in (data, prior)), tol=0, max_iter=30).x
                return torch.autograd.grad((x * upstream).sum(), (data, prior))
            finally:
                pixel_filter_stencil.LEAST_APPLICATIONS = kept
        return call

    candidates = {"filters float32": run(False), "stencil float32": run(True), "filters bfloat16": run(False, torch.bfloat16),
                  "stencil bfloat16": run(True, torch.bfloat16)}
    found = {name: call() for name, call in candidates.items()}
    base = found["filters float32"]
    more = {"head": ("change of the gradients",), **{name: (", ".join(
        f"{float((a.float() - b).norm() / b.norm()):.1e}" for a, b in zip(pair, base)),) for name, pair in found.items()}}
    yield f"\n### Forward and backward, 30 + 30 iterations, {batch} x 3 x {side} x {side}, kernel 17 x 17, {threads()}\n"
    yield from table(rounds(candidates, options, 5), "operator", more)


def preconditioners(options):
    """Iterations to a tolerance, and PSNR on the way."""
    side, most = (64, 60) if options.smoke else (192, 200)
    yield (f"\n### Preconditioners and starts, means of {len(scene.PHOTOGRAPHS)} photographs of {side} x {side}, each with a kernel of its "
           "own\n")
    yield (f"| reg | preconditioner | start | iterations to 1e-4, at most {most} | ms to 1e-4 | PSNR after 5 | after 15 | after 30 | "
           "at 1e-4 |")
    yield "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for reg in (2e-3, 2e-2):
        scenes = [Case(*scene.pair(photo, k, side, side), reg) for photo, k in zip(scene.PHOTOGRAPHS, scene.KERNELS, strict=True)]
        for kind in ("none", "diagonal", "circulant"):
            for start in ("closed form", "blurred", "zero"):
                found = [case.solve(kind, start, most) for case in scenes]
                yield f"| {reg:g} | {kind} | {start} | " + " | ".join(
                    f"{statistics.mean(values):.{digits}f}" for values, digits in zip(zip(*found), (1, 0, 2, 2, 2, 2))) + " |"


@dataclasses.dataclass
class Case:
    sharp: torch.Tensor
    y: torch.Tensor
    k: torch.Tensor
    reg: float

    def __post_init__(self):
        self.problem = MAPProblem(self.y, self.k)
        x0 = image_quotient(self.y, self.k, beta=0.02, prior="gradient", padding="replicate")
        self.data, prior = scene.filters(x0, self.reg)
        self.prior = self.problem.continued(prior).contiguous()
        self.term = by_stencil(self.problem, self.data, self.prior)
        self.starts = {"closed form": self.problem.extended(x0), "blurred": self.problem.start, "zero": None}

    def preconditioner(self, kind):
        if kind == "none":
            return None
        if kind == "circulant":
            return circulant(self.problem, self.data, self.prior)
        inside = self.problem.plane.leave_adjoint(self.term.data.values[:, :, 0])
        inverse = 1 / (squared(self.k, inside) + self.term.prior.values[:, :, 0])
        return lambda r: inverse * r

    def solve(self, kind, start, most):
        """(iterations, ms to 1e-4, PSNR after 5, 15, 30 iterations and at 1e-4)."""
        x0, b, scores = self.starts[start], self.term.right_hand_side(), []

        def run(tol, count):
            return conjugate_gradients.solve(self.term.normal, b, x0, self.preconditioner(kind), tol=tol, max_iter=count, apart=2)

        begun = time.process_time()
        found = run(1e-4, most)
        seconds = time.process_time() - begun
        for x in (*(run(0, count).x for count in (5, 15, 30)), found.x):
            scores.append(scene.psnr(self.problem.plane.leave(x), self.sharp))
        return float(found.iterations.amax()), 1e3 * seconds, *scores


def squared(k, inside):
    """The diagonal of K' D K for a diagonal D: D correlated with the squares of the kernel, on the plane."""
    squares, (rows, columns) = k.square()[0, 0], inside.shape[-2:]
    wide = torch.zeros(rows, columns)
    kh, kw = squares.shape
    wide[:kh, :kw] = squares
    wide = wide.roll((-(kh // 2), -(kw // 2)), (0, 1))
    return untransform(transform(inside) * transform(wide).conj(), (rows, columns)).clamp_min(0)


PARTS = {"products": products, "steps": steps, "training": training, "preconditioners": preconditioners}


@dataclasses.dataclass(frozen=True)
class Options:
    smoke: bool
    budget: float


def main():
    parser = argparse.ArgumentParser(prog="python bench/svmap_solve.py", description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=PARTS)
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, nothing written")
    parser.add_argument("--budget", type=float, default=60.0, help="seconds per table (default 60)")
    given = parser.parse_args()
    development_data.folder("bench/svmap_solve.py", "images", "kernels")
    options, lines = Options(given.smoke, 1.0 if given.smoke else given.budget), []
    for name, part in PARTS.items():
        if given.part in (None, name):
            for line in part(options):
                print(line, flush=True)
                lines.append(line)
    if given.part is None and not given.smoke:
        processor = measure.processor()
        note = (f"Printed by `python bench/svmap_solve.py` on {processor['name']} ({processor['isa']}), torch {torch.__version__}, load "
                f"{measure.load_average()}; with one thread in processor time, which other programs on the machine disturb less.\n")
        pages.fill(PAGE, SECTION, "\n".join([note, *lines]), "What makes the solve cheap")


if __name__ == "__main__":
    main()
