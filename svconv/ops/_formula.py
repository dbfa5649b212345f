"""Fused gradients whose own gradient goes through the formulas of the reference, plain torch: second order without a kernel for it."""
import torch


def save(tensors):
    """A setup_context that keeps the first `tensors` arguments, the others as ctx.rest, and the backend."""
    def setup(ctx, inputs, output):
        ctx.save_for_backward(*inputs[:tensors])
        ctx.rest, ctx.backend = inputs[tensors:-1], inputs[-1]
    return setup


def second_order(formula):
    """The backward of an op saved by `save`: the gradients of `formula(*tensors, *rest)`, differentiable again."""
    def backward(ctx, *upstream):
        tensors = ctx.saved_tensors
        places = [i for i, needed in enumerate(ctx.needs_input_grad[:len(tensors)]) if needed]

        def of_needed(*needed):
            given = list(tensors)
            for i, t in zip(places, needed):
                given[i] = t
            return formula(*given, *ctx.rest)

        outputs, pull = torch.func.vjp(of_needed, *(tensors[i] for i in places))
        found = dict(zip(places, pull(tuple(torch.zeros_like(o) if g is None else g for o, g in zip(outputs, upstream)))))
        return *(found.get(i) for i in range(len(tensors))), *[None] * (len(ctx.rest) + 1)
    return backward
