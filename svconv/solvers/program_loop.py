"""The passes of conjugate gradients as one loop of a program that is exported: it ends where the loop of the host would."""
import torch

STATE = ("x", "r", "p", "rz", "residual", "iterations", "checks", "active", "checked", "failed")     # what a pass changes


def run(iteration, most):
    """At most so many passes of an `Iteration` that has begun."""

    def unfinished(count, *state):
        now = _at(iteration, state)
        return (count < most) & (now.active | now.checked).any()

    def take_pass(count, *state):
        now = _at(iteration, [t.clone() for t in state])      # a pass changes its tensors, those of a loop may not change
        now.take_pass()
        return count + 1, *(getattr(now, name) for name in STATE)

    count = torch.zeros((), dtype=torch.int64, device=iteration.x.device)
    _, *last = torch._higher_order_ops.while_loop(unfinished, take_pass, (count, *(getattr(iteration, name) for name in STATE)))
    for name, t in zip(STATE, last):
        setattr(iteration, name, t)


def _at(iteration, state):
    """Another iteration of the same problem at that state."""
    other = object.__new__(type(iteration))
    other.__dict__.update(iteration.__dict__)
    for name, t in zip(STATE, state):
        setattr(other, name, t)
    other.scratch = torch.empty_like(other.p)
    return other
