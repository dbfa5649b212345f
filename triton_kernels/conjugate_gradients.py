"""The vectors of conjugate gradients: what follows an application of A in three launches, for many problems at once.

Each of S problems has n values in x, r, p, q, and a state that the kernels read and write without the host. Partial sums of inner products
are taken up in a fixed order by every program that needs them: no atomics, and a problem's arithmetic does not depend on the others.
"""
import torch
import triton
import triton.language as tl
from svconv._triton.launch import Launch, cdiv

BLOCK = 1024            # values that a program takes at once
MOST = 256              # programs of a problem, whose partial sums one load takes up
# columns of the state, int32 [S, 5], and of the numbers, [S, 2]
ACTIVE, CHECKED, FAILED, ITERATIONS, CHECKS = range(5)
STATE, NUMBERS = 5, 2   # rz, residual


@triton.jit
def _range(pid, n, programs, BLOCK: tl.constexpr):
    """(problem, part, its first value, behind its last one)."""
    problem, part = (pid // programs).to(tl.int64), pid % programs
    share = tl.cdiv(tl.cdiv(n, programs), BLOCK) * BLOCK
    first = part.to(tl.int64) * share
    return problem, part, first, tl.minimum(first + share, n)


@triton.jit
def _total(partial, problem, programs, MOST: tl.constexpr):
    """The sum of a problem's partial sums."""
    i = tl.arange(0, MOST)
    return tl.sum(tl.load(partial + problem * programs + i, i < programs, 0.0), 0)


@triton.jit(do_not_specialize=["programs"])
def _cg_dot_kernel(u, v, partial, n, programs, BLOCK: tl.constexpr):
    """partial[problem, part] = the part's share of u . v."""
    problem, part, first, last = _range(tl.program_id(0), n, programs, BLOCK)
    u += problem * n
    v += problem * n
    total = tl.zeros((BLOCK,), dtype=u.dtype.element_ty)
    for start in range(first, last, BLOCK):
        at = start + tl.arange(0, BLOCK)
        total += tl.load(u + at, at < last, 0.0) * tl.load(v + at, at < last, 0.0)
    tl.store(partial + problem * programs + part, tl.sum(total, 0))


@triton.jit(do_not_specialize=["programs"])
def _cg_step_kernel(b, unit, x, r, p, q, state, numbers, steps, pq, squared, n, programs, MOST: tl.constexpr, BLOCK: tl.constexpr):
    """x += alpha p and r -= alpha q of the problems that step, r = unit b - q of those that are checked; squared = parts of r . r.

    steps int32 [S, 2]: whether the problem took a step, whether p . q is not a number.
    """
    problem, part, first, last = _range(tl.program_id(0), n, programs, BLOCK)
    active = tl.load(state + problem * 5) != 0
    checked = tl.load(state + problem * 5 + 1) != 0
    curvature = _total(pq, problem, programs, MOST)
    alpha = tl.load(numbers + problem * 2) / curvature
    good = active & (curvature > 0) & (tl.abs(alpha) < float("inf"))
    alpha = tl.where(good, alpha, 0.0)
    scale = tl.load(unit + problem)
    b += problem * n
    x += problem * n
    r += problem * n
    p += problem * n
    q += problem * n
    total = tl.zeros((BLOCK,), dtype=x.dtype.element_ty)
    for start in range(first, last, BLOCK):
        at = start + tl.arange(0, BLOCK)
        here = at < last
        applied = tl.load(q + at, here, 0.0)
        if good:
            tl.store(x + at, tl.load(x + at, here, 0.0) + tl.load(p + at, here, 0.0) * alpha, here)
        rest = tl.load(r + at, here, 0.0)
        if checked:
            rest = tl.load(b + at, here, 0.0) * scale - applied
        if good:
            rest = rest - applied * alpha
        tl.store(r + at, rest, here)
        total += rest * rest
    tl.store(squared + problem * programs + part, tl.sum(total, 0))
    if part == 0:
        tl.store(steps + problem * 2, good.to(tl.int32))
        tl.store(steps + problem * 2 + 1, (curvature != curvature).to(tl.int32))


@triton.jit(do_not_specialize=["programs", "problems", "max_iter"])
def _cg_direction_kernel(x, r, z, p, state, numbers, steps, squared, rz, threshold, history, new_state, new_numbers, n, programs, problems,
                         max_iter, CHECKS: tl.constexpr, VERIFY: tl.constexpr, MOST: tl.constexpr, BLOCK: tl.constexpr):
    """What A is applied to next, in p: z + ratio p, or the solution of a problem that is checked; zeros of one that is not a number.

    Writes the next state, and the residual into history [max_iter + 1, S] where there is one. rz: parts of r . z, those of r . r where z
    is r.
    """
    problem, part, first, last = _range(tl.program_id(0), n, programs, BLOCK)
    active = tl.load(state + problem * 5) != 0
    checked = tl.load(state + problem * 5 + 1) != 0
    failed = tl.load(state + problem * 5 + 2) != 0
    good = tl.load(steps + problem * 2) != 0
    iterations = tl.load(state + problem * 5 + 3) + good.to(tl.int32)
    checks = tl.load(state + problem * 5 + 4) + checked.to(tl.int32)
    norm = _total(squared, problem, programs, MOST)
    product = _total(rz, problem, programs, MOST)
    broken = (norm != norm) | (active & (tl.load(steps + problem * 2 + 1) != 0))
    residual = tl.sqrt(norm)
    more = (residual > tl.load(threshold + problem)) & (iterations < max_iter) & (broken == 0)
    now_checked = checked
    now_active = good & more
    if VERIFY:
        now_checked = active & (broken == 0) & ((good == 0) | (more == 0))
        now_active = now_active | (checked & more & (failed == 0) & (checks < CHECKS))
    ratio = tl.where(now_active & good, product / tl.load(numbers + problem * 2), 0.0)
    x += problem * n
    r += problem * n
    z += problem * n
    p += problem * n
    for start in range(first, last, BLOCK):
        at = start + tl.arange(0, BLOCK)
        here = at < last
        direction = tl.load(z + at, here, 0.0)
        if now_active & good:
            direction = direction + tl.load(p + at, here, 0.0) * ratio
        if now_checked:
            direction = tl.load(x + at, here, 0.0)
        if broken:
            direction = direction * 0.0
            direction = tl.where(direction != direction, 0.0, direction)
            tl.store(r + at, direction, here)
        tl.store(p + at, direction, here)
    if part == 0:
        tl.store(new_state + problem * 5, now_active.to(tl.int32))
        tl.store(new_state + problem * 5 + 1, now_checked.to(tl.int32))
        tl.store(new_state + problem * 5 + 2, (failed | broken).to(tl.int32))
        tl.store(new_state + problem * 5 + 3, iterations)
        tl.store(new_state + problem * 5 + 4, checks)
        tl.store(new_numbers + problem * 2, product)
        tl.store(new_numbers + problem * 2 + 1, residual)
        if history is not None:
            tl.store(history + iterations.to(tl.int64) * problems + problem, residual)


# host -----------------------------------------------------------------------------------------------------------------

def programs_of(n):
    """How many programs share the n values of a problem."""
    return max(1, min(MOST, cdiv(n, 4 * BLOCK)))


def dot_launch(u, v, partial):
    n, programs = u[0].numel(), partial.shape[1]
    return Launch(_cg_dot_kernel, u.shape[0] * programs, {"u": u, "v": v, "partial": partial, "n": n, "programs": programs, "BLOCK": BLOCK},
                  num_warps=4)


def step_launch(b, unit, x, r, p, q, state, numbers, steps, pq, squared):
    n, programs = x[0].numel(), pq.shape[1]
    return Launch(_cg_step_kernel, x.shape[0] * programs, {
        "b": b, "unit": unit, "x": x, "r": r, "p": p, "q": q, "state": state, "numbers": numbers, "steps": steps, "pq": pq,
        "squared": squared, "n": n, "programs": programs, "MOST": MOST, "BLOCK": BLOCK}, num_warps=4)


def direction_launch(x, r, z, p, state, numbers, steps, squared, rz, threshold, history, new_state, new_numbers, max_iter, checks, verify):
    n, programs = x[0].numel(), squared.shape[1]
    return Launch(_cg_direction_kernel, x.shape[0] * programs, {
        "x": x, "r": r, "z": z, "p": p, "state": state, "numbers": numbers, "steps": steps, "squared": squared, "rz": rz,
        "threshold": threshold, "history": history, "new_state": new_state, "new_numbers": new_numbers, "n": n, "programs": programs,
        "problems": x.shape[0], "max_iter": max_iter, "CHECKS": checks, "VERIFY": verify, "MOST": MOST, "BLOCK": BLOCK}, num_warps=4)


def aot_launches(dtype):
    """(label, launch) of every kernel, on meta tensors, for the ahead-of-time tests."""
    def new(*shape, of=dtype):
        return torch.empty(shape, dtype=of, device="meta")

    x, state, numbers, steps, partial, one = (new(2, 3, 64, 64), new(2, STATE, of=torch.int32), new(2, NUMBERS),
                                              new(2, 2, of=torch.int32), new(2, 12), new(2))
    yield "dot", dot_launch(x, x, partial)
    yield "step", step_launch(x, one, x, x, x, x, state, numbers, steps, partial, partial)
    for verify, history in ((True, None), (False, new(11, 2))):
        yield f"direction, verify={verify}", direction_launch(x, x, x, x, state, numbers, steps, partial, partial, one, history, state,
                                                              numbers, 10, 3, verify)
