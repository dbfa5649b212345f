"""Cases of pixel_filter: forward, adjoint, backward, gram, one CG iteration."""
import dataclasses
import functools

import torch

import svconv
from svconv.reference import pixel_filter as reference

from ..lanes import lanes
from ..measure import Skip, require_memory, tensor_bytes
from ..peers import pixel_filter as peers
from . import OTHER_STREAM, Case, backward_of, bytes_of, forward_backward_of, no_grad, peer, random

CG_STEPS = 10
CG_WEIGHT = 0.1


@dataclasses.dataclass(frozen=True)
class Size:
    """channels "per colour": filters [1, C, M, ...]; otherwise one map shared by the channels, [1, 1, 1, ...]."""
    side: int
    taps: int
    filters: int
    channels: int
    per_colour: bool = True

    def __str__(self):
        kind = f"M = {self.filters}, C = {self.channels}" if self.per_colour else f"C = {self.channels} shared"
        return f"{self.taps} x {self.taps}, {kind}, {self.side} x {self.side}"

    @property
    def filter_shape(self):
        c, m = (self.channels, self.filters) if self.per_colour else (1, 1)
        return 1, c, m, self.taps, self.taps, self.side, self.side


FULL = (Size(1024, 7, 5, 1), Size(1024, 5, 3, 3), Size(1024, 5, 5, 3), Size(256, 7, 5, 1))
LARGE = (Size(1024, 31, 1, 3, per_colour=False), Size(512, 31, 1, 3, per_colour=False))
SMOKE = (Size(48, 5, 2, 1), Size(32, 7, 1, 3, per_colour=False))
# two and four pixels per thread: loads of twice and four times the width
WIDE = {"triton": {f"{count} lanes": functools.partial(lanes, count) for count in (512, 1024)}}


def make(size, device, dtype=torch.float32):
    """x, y (the upstream gradient or the adjoint's input) and filters, scaled so that the gram stays near one."""
    c, m = size.channels, size.filter_shape[2]
    filters = random(size.filter_shape, device, 1, dtype, low=-1.0)
    filters /= size.taps * m ** 0.5
    return {"x": random((1, c, size.side, size.side), device, 2, dtype),
            "y": random((1, c, m, size.side, size.side), device, 3, dtype, low=-1.0), "filters": filters}


def make_head(size, device):
    """The same, the filters as a network leaves them in channels_last: all values of a pixel side by side."""
    v = make(size, device)
    pixels_first = v["filters"].permute(0, 5, 6, 1, 2, 3, 4).contiguous()
    return {**v, "planes": v["filters"], "filters": pixels_first.permute(0, 3, 4, 5, 6, 1, 2)}


def products(factor):
    """factor multiply-adds per filter value and channel that uses it."""
    def flops(inputs):
        shared = inputs["x"].shape[1] // inputs["filters"].shape[1]
        return 2 * factor * inputs["filters"].numel() * shared
    return flops


# what is computed: each takes (inputs, ...) and gives the callable that is timed ------------------------------------------

def svconv_forward(v, backend=None):
    return no_grad(lambda: svconv.pixel_filter(v["x"], v["filters"], backend=backend))


def svconv_adjoint(v, backend=None):
    return no_grad(lambda: svconv.pixel_filter_adjoint(v["y"], v["filters"], backend=backend))


def svconv_gram(v, backend=None):
    return no_grad(lambda: svconv.pixel_filter_gram(v["x"], v["filters"], backend=backend))


def operands(v):
    return v["x"], v["filters"], v["y"]


def svconv_filter(backend):
    return functools.partial(svconv.pixel_filter, backend=backend)


def svconv_backward_again(v, backend=None):
    """The backward pass in a loop that keeps its memory."""
    memory, backward = svconv.GradientMemory(), backward_of(svconv_filter(backend), *operands(v))

    def timed():
        with memory:
            return backward()
    return timed


def fill(v):
    """Creates and fills a tensor of the gradient's size: what every backward pays to the operating system."""
    return lambda: torch.empty_like(v["filters"]).fill_(1.0)


def conjugate_gradient(gram, b, steps):
    """Plain CG on (gram + CG_WEIGHT) x = b, `steps` iterations."""
    x, r = torch.zeros_like(b), b.clone()
    p, rr = r.clone(), (r * r).sum()
    for _ in range(steps):
        q = gram(p).add_(p, alpha=CG_WEIGHT)
        alpha = rr / (p * q).sum()
        x.addcmul_(p, alpha)
        r.addcmul_(q, -alpha)
        rr, old = (r * r).sum(), rr
        p.mul_(rr / old).add_(r)
    return x


def svconv_cg(v, backend=None):
    """svconv.solvers.cg with the implicit gradient switched off, CG_STEPS iterations."""
    try:
        from svconv.solvers import cg
    except ImportError as error:
        raise Skip(f"no solver: {error}") from None

    def normal(p):
        return svconv.pixel_filter_gram(p, v["filters"], backend=backend) + CG_WEIGHT * p
    return no_grad(lambda: cg(normal, v["x"], tol=0.0, max_iter=CG_STEPS, check_every=CG_STEPS, implicit=False).x)


def reference_step(name):
    """torch.compile of the reference."""
    function = getattr(reference, name)

    def factory(v):
        compiled = peers.compiled(function, v["filters"])
        if name == "pixel_filter_gram":
            return no_grad(lambda: compiled(v["x"], v["filters"], None, "zeros"))
        source = v["y"] if name == "pixel_filter_adjoint" else v["x"]
        return no_grad(lambda: compiled(source, v["filters"], "zeros"))
    return factory


def reference_backward(v):
    """torch.compile of the shift loop with its backward (the reference indexes the filters, whose backward copies them per tap)."""
    return forward_backward_of(peers.compiled(peers.autograd_shift_loop, v["filters"]), *operands(v))


def autograd_backward(v):
    """Needs the taps' gradients and their stack beside the inputs."""
    require_memory(2 * tensor_bytes(v["filters"]), v["x"].device)
    return backward_of(peers.autograd_shift_loop, *operands(v))


def autograd_forward_backward(v):
    require_memory(2 * tensor_bytes(v["filters"]), v["x"].device)
    return forward_backward_of(peers.autograd_shift_loop, *operands(v))


def hand_written_forward_backward(v):
    return forward_backward_of(peers.HandWrittenShiftLoop.apply, *operands(v))


def pylops_forward(v):
    operators = peers.pylops_operators(v["x"], v["filters"])
    return lambda: peers.pylops_filter(operators, v["x"])


# the family ---------------------------------------------------------------------------------------------------------------

def _forward(size, first, **common):
    unfolds = {"unfold, multiply, sum": peer(peers.unfold_multiply, "x", "filters"),
               "unfold, einsum": peer(peers.unfold_einsum, "x", "filters")}
    extra = {"windows, einsum": peer(peers.windows_einsum, "x", "filters"), "PyLops (numba)": pylops_forward,
             "torch.compile": reference_step("pixel_filter_fwd")} if first else {}
    targets = (("percent of read", ">=", 90), ("vs in-place shift loop", ">=", 1), ("vs unfold, multiply, sum", ">=", 15))
    return Case("pixel_filter", "forward", str(size), run=svconv_forward, read=bytes_of("x", "filters"), written=bytes_of("y"),
                flops=products(1), targets=targets if first else targets[1:2], **common,
                peers={"in-place shift loop": peer(peers.shift_loop, "x", "filters"), **unfolds, **extra})


def _adjoint(size, first, **common):
    extra = {"multiply, sum, fold": peer(peers.fold_multiply, "y", "filters"),
             "torch.compile": reference_step("pixel_filter_adjoint")} if first else {}
    targets = (("percent of read", ">=", 90), ("vs in-place shift loop", ">=", 1))
    return Case("pixel_filter", "adjoint", str(size), run=svconv_adjoint, read=bytes_of("y", "filters"), written=bytes_of("x"),
                flops=products(1), targets=targets if first else targets[1:], **common,
                peers={"in-place shift loop": peer(peers.shift_loop_adjoint, "y", "filters"), **extra})


def _backward(size, **common):
    return Case("pixel_filter", "backward", str(size), run=lambda v, backend=None: backward_of(svconv_filter(backend), *operands(v)),
                read=bytes_of("x", "y", "filters"), written=bytes_of("x", "filters"), flops=products(2), uncaptured=OTHER_STREAM, **common,
                references={"forward": svconv_forward, "fill": fill}, targets=(("of 2.5 forwards + fill", "<=", 1),),
                peers={"shift loop, hand-written": lambda v: backward_of(peers.HandWrittenShiftLoop.apply, *operands(v)),
                       "shift loop, autograd": autograd_backward})


def _backward_again(size, **common):
    return Case("pixel_filter", "backward, memory used again", str(size), run=svconv_backward_again, gpu=False, **common,
                read=bytes_of("x", "y", "filters"), written=bytes_of("x", "filters"), flops=products(2),
                references={"forward": svconv_forward}, targets=(("times forward", "<=", 2.5),),
                peers={"shift loop, hand-written": lambda v: backward_of(peers.HandWrittenShiftLoop.apply, *operands(v))})


def _forward_backward(size, first, memory=False, **common):
    targets = (("vs shift loop, autograd", ">=", 2.5),)
    extra = {"torch.compile": reference_backward} if first else {}
    return Case("pixel_filter", "forward + backward", str(size), memory=memory,
                run=lambda v, backend=None: forward_backward_of(svconv_filter(backend), *operands(v)),
                read=bytes_of("x", "y", "filters", "x", "filters"), written=bytes_of("x", "y", "filters"), flops=products(3), **common,
                targets=targets, peers={"shift loop, hand-written": hand_written_forward_backward,
                                        "shift loop, autograd": autograd_forward_backward, **extra})


def _gram(size, first, **common):
    extra = {"torch.compile": reference_step("pixel_filter_gram")} if first else {}
    return Case("pixel_filter", "gram", str(size), run=svconv_gram, read=bytes_of("x", "filters"), written=bytes_of("x"),
                flops=products(2), references={"forward": svconv_forward}, **common,
                targets=(("times forward", "<=", 1.2), ("vs two shift loops", ">=", 3)),
                peers={"two shift loops": peer(peers.shift_loop_gram, "x", "filters"), **extra})


def _head(size, **common):
    def copied(v):
        return peers.shift_loop(v["x"], v["filters"].contiguous())
    return Case("pixel_filter", "forward, channels_last head", str(size), run=svconv_forward, inputs=functools.partial(make_head, size),
                read=bytes_of("x", "filters"), written=bytes_of("y"), flops=products(1), **common,
                references={"forward plane by plane": lambda v: svconv_forward({**v, "filters": v["planes"]})},
                peers={"copy, in-place shift loop": lambda v: no_grad(lambda: copied(v))})


def _cg(size, **common):
    def loop(v):
        return no_grad(lambda: conjugate_gradient(lambda p: peers.shift_loop_gram(p, v["filters"]), v["x"], CG_STEPS))

    def written_out(v):
        return no_grad(lambda: conjugate_gradient(lambda p: svconv.pixel_filter_gram(p, v["filters"]), v["x"], CG_STEPS))

    def vectors(v):        # q = A p; x, r and p are read and written once per iteration
        return 5 * tensor_bytes(v["x"])
    return Case("pixel_filter", "one CG iteration", str(size), run=svconv_cg, iterations=CG_STEPS, tolerance=1e-3,
                read=lambda v: tensor_bytes(v["filters"]) + vectors(v), written=lambda v: 4 * tensor_bytes(v["x"]), flops=products(2),
                peers={"CG on two shift loops": loop}, references={"gram in plain CG": written_out}, **common)


def cases():
    for sizes, smoke in ((FULL, False), (SMOKE, True)):
        for index, size in enumerate(sizes):
            common = {"inputs": functools.partial(make, size), "smoke": smoke}
            first = index == 0 and not smoke
            wide = {"variants": WIDE} if index == 0 else {}
            yield _forward(size, first, **common, **wide)
            yield _adjoint(size, first, **common, **wide)
            yield _backward(size, **common)
            yield _backward_again(size, **common)
            yield _forward_backward(size, first, memory=smoke and index == 0, **common)
            yield _gram(size, first, **common, **wide)
            yield _cg(size, **common)
    for size, smoke in ((Size(1024, 5, 1, 3), False), (Size(1024, 7, 5, 1), False), (SMOKE[0], True)):
        yield _head(size, smoke=smoke)
    for index, size in enumerate(LARGE):
        common = {"inputs": functools.partial(make, size)}
        yield _forward(size, False, **common)
        yield _adjoint(size, False, **common)
        yield _forward_backward(size, False, memory=index == 0, **common)
        yield _gram(size, False, **common)
    for size in FULL[:1]:
        common = {"inputs": functools.partial(make, size, dtype=torch.bfloat16), "dtype": "bfloat16", "cpu": False,
                  "tolerance": 0.1, "variants": WIDE}     # the peers sum in bfloat16
        yield _forward(size, False, **common)
        yield _adjoint(size, False, **common)
        yield _gram(size, False, **common)
