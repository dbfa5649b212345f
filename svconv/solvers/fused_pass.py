"""The vector arithmetic of conjugate gradients in three launches instead of forty, where Triton runs."""
import torch

from svconv import backends

STEM = "conjugate_gradients"


def fused_pass(iteration):
    """A `FusedPass` that takes the place of the iteration's own, or None where there is none for its device, or another backend is
    forced."""
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active() or iteration.x.numel() == 0:
        return None
    if backends.requested_outside() not in ("", "triton"):
        return None
    if backends.why_not("triton", STEM, "dot_launch", iteration.x.device):
        return None
    return FusedPass(iteration, backends.stem_module("triton", STEM))


class FusedPass:
    """Called for one pass after the other; `finish()` hands the state back.

    The direction of a problem whose true residual is computed is not needed any more, so that its solution stands in the place of it and A
    is applied to p alone.
    """

    def __init__(self, iteration, kernels):
        self.of, self.kernels = iteration, kernels
        count = iteration.scale.numel()
        self.shape, flat = iteration.scale.shape, (count, *iteration.x.shape[iteration.apart:])
        self.b, self.x, self.r, self.p = (t.contiguous().view(flat) for t in (iteration.b, iteration.x, iteration.r, iteration.p))
        self.unit, self.threshold = iteration.unit.reshape(count), iteration.threshold.reshape(count)
        flags = iteration.active, iteration.checked, iteration.failed, iteration.iterations, iteration.checks
        state = torch.stack([t.reshape(count).int() for t in flags], 1)
        numbers = torch.stack([t.reshape(count) for t in (iteration.rz, iteration.residual)], 1)
        self.states, self.numbers = [state, torch.empty_like(state)], [numbers, torch.empty_like(numbers)]
        self.steps = state.new_empty((count, 2))
        programs = kernels.programs_of(self.x[0].numel())
        self.pq, self.squared, self.rz = (self.x.new_empty((count, programs)) for _ in range(3))
        self.history = None if iteration.history is None else iteration.history.view(-1, count)
        iteration.note()
        iteration.x, iteration.r, iteration.p = (t.view(iteration.b.shape) for t in (self.x, self.r, self.p))

    def __call__(self):
        of, kernels, device = self.of, self.kernels, self.x.device
        q = of.applied(of.p).contiguous().view(self.x.shape)
        kernels.dot_launch(self.p, q, self.pq)(device)
        (state, new_state), (numbers, new_numbers) = self.states, self.numbers
        kernels.step_launch(self.b, self.unit, self.x, self.r, self.p, q, state, numbers, self.steps, self.pq, self.squared)(device)
        z, rz = self.r, self.squared
        if of.preconditioner is not None:
            z, rz = of.preconditioner(of.r).contiguous().view(self.x.shape), self.rz
            kernels.dot_launch(self.r, z, rz)(device)
        kernels.direction_launch(self.x, self.r, z, self.p, state, numbers, self.steps, self.squared, rz, self.threshold, self.history,
                                 new_state, new_numbers, of.max_iter, of.most_checks, of.verify)(device)
        self.states.reverse()
        self.numbers.reverse()
        of.active, of.checked, of.failed = (self._flag(i) for i in (kernels.ACTIVE, kernels.CHECKED, kernels.FAILED))
        of.tell(self.steps[:, 0] != 0)

    def _flag(self, column):
        return self.states[0][:, column].view(self.shape) != 0

    def finish(self):
        """Iterations and residuals back to the iteration."""
        self.of.iterations = self.states[0][:, self.kernels.ITERATIONS].long().view(self.shape)
        self.of.residual = self.numbers[0][:, 1].reshape(self.shape)
