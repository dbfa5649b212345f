"""Registered ops under torch.func (grad, vjp, jvp, vmap and their nests) and dual numbers, which look through an autograd.Function but
not through an op."""

import functools

import torch
from torch.autograd import forward_ad

from svconv._forward_mode import outer_levels, primal


def transforming():
    """Whether a torch.func transform or a dual level is active."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def needs_dispatcher(arguments):
    """Whether torch's dispatcher has something to do for a call: a mode, trace or profile around it, a gradient to record, a tensor that
    is more than values on a device. For a call that needs nothing of it, it costs several times as much as a small op."""
    if (torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack() or torch._C._len_torch_function_stack()
            or torch._C._is_tracing() or torch.autograd._profiler_enabled()):
        return True
    recording = torch.is_grad_enabled()
    for a in arguments:
        if isinstance(a, torch.Tensor) and (
                recording and a.requires_grad or torch._C._dispatch_keys(a).raw_repr() not in _plain_keys(a.device.type)):
            return True
    return False


@functools.cache
def _plain_keys(device_type):
    """The dispatch keys of a tensor that has values and nothing else, made outside and inside of inference mode."""
    if device_type == "meta":
        return ()
    made = []
    for inference in (False, True):
        with torch.inference_mode(inference):
            made.append(torch._C._dispatch_keys(torch.empty(0, device=device_type)).raw_repr())
    return frozenset(made)


class Op:
    """A registered op that torch.func and dual numbers understand; outside of them a call goes straight to `overload`, or, where the
    dispatcher has nothing to do, to the implementation.

    Attributes:
        overload: the default overload, for `torch.library.opcheck` and traces.
    """

    def __init__(self, overload, implementation, setup_context=None, backward=None, jvp=None, formula=None):
        """jvp: (primals, tangents) -> tangents of the output. formula: the op in plain torch, from the same arguments without the
        backend."""
        self.overload, self._implementation, self._formula, self._function = overload, implementation, formula, None
        if backward is not None:
            self._function = _function(overload, setup_context, backward, by_formula(formula) if jvp is None and formula else jvp)

    def __call__(self, *arguments):
        if not transforming():
            return (self.overload if needs_dispatcher(arguments) else self._implementation)(*arguments)
        if self._function is None:
            return self.overload(*arguments)
        if torch.compiler.is_compiling():
            torch._dynamo.graph_break(
                msg="svconv: torch.func transforms inside of torch.compile run uncompiled (use torch.autograd.grad for one graph)"
            )
        if self._formula is not None and not torch._C._are_functorch_transforms_active():
            return self._formula(*arguments[:-1])       # dual numbers alone: a formula cannot be differentiated inside of a jvp there
        return self._function.apply(*(_Held(a) if isinstance(a, (list, tuple)) else a for a in arguments))


class _Held:
    """A shape on its way through a Function, whose batching rule would take it for as many arguments."""

    def __init__(self, value):
        self.value = value


def _released(arguments):
    return [a.value if isinstance(a, _Held) else a for a in arguments]


def _function(overload, setup, backward_rule, jvp_rule):
    """setup: saves the tensors of the arguments, which lead, in their order."""
    tensors = sum("Tensor" in str(argument.type) for argument in overload._schema.arguments)

    class Transformed(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(*arguments):
            return overload(*_released(arguments))

        @staticmethod
        def setup_context(ctx, inputs, output):
            inputs = _released(inputs)
            setup(ctx, inputs, output)
            ctx.others = inputs[tensors:]
            ctx.save_for_forward(*inputs[:tensors])     # what `setup` saves for backward: torch's batching rule keeps one list of both

        backward = staticmethod(backward_rule)

        @staticmethod
        def jvp(ctx, *tangents):
            if jvp_rule is None:
                raise NotImplementedError(f"{overload} has no forward-mode derivative")
            with outer_levels():
                saved = (None if t is None else primal(t) for t in ctx.saved_tensors)
                return jvp_rule([*saved, *ctx.others], tangents)

    Transformed.__name__ = str(overload)
    return Transformed


def multilinear(op, *positions):
    """The jvp of an op that is linear in each of the arguments at `positions`; op: a function that returns it (it is not made yet)."""
    def jvp(primals, tangents):
        return total(op()(*primals[:i], tangents[i], *primals[i + 1:]) for i in positions if tangents[i] is not None)
    return jvp


def by_formula(formula):
    """The jvp of a plain torch formula in its tensors."""
    def jvp(primals, tangents):
        places = [i for i, t in enumerate(primals) if isinstance(t, torch.Tensor)]

        def of_tensors(*tensors):
            arguments = list(primals[:-1])
            for i, t in zip(places, tensors):
                arguments[i] = t
            return formula(*arguments)

        given = [torch.zeros_like(primals[i]) if tangents[i] is None else tangents[i] for i in places]
        return torch.func.jvp(of_tensors, tuple(primals[i] for i in places), tuple(given))[1]
    return jvp


def batching(op, images=1, summed=None, plain=(), folds=True):
    """The batching rule of an op whose tensors lead with B or 1 and whose samples are independent: the vmapped axis is folded into B
    where that copies nothing, one call after the other elsewhere.

    images: how many leading tensors have the full B. summed: the position of a shape whose leading 1 means a sum over the batch (the
    gradient in shared weights). plain: positions of tensors without a batch.
    """
    def rule(info, in_dims, *arguments):
        n = info.batch_size
        batched = [isinstance(a, torch.Tensor) and dim is not None for a, dim in zip(arguments, in_dims)]
        moved = [a.movedim(dim, 0) if has else a for a, dim, has in zip(arguments, in_dims, batched)]
        folded = _folded(moved, batched, n, images, summed, plain) if folds else None
        if folded is not None:
            result = op(*folded)
            return result.unflatten(0, (n, result.shape[0] // n)), 0
        each = [op(*(a[i] if has else a for a, has in zip(moved, batched))) for i in range(n)]
        return (tuple(map(torch.stack, zip(*each))), (0,) * len(each[0])) if isinstance(each[0], tuple) else (torch.stack(each), 0)
    return rule


def _folded(arguments, batched, n, images, summed, plain):
    """The arguments with an axis of length n folded into their batch; None where that is not possible without a copy of what all share."""
    size = arguments[0].shape[int(batched[0])]
    found = list(arguments)
    for i, (t, has) in enumerate(zip(arguments, batched)):
        if i == summed:
            found[i] = [n * t[0], *t[1:]]
            fits = t[0] == size
        elif not isinstance(t, torch.Tensor) or i in plain and not has:
            fits = True
        elif has:
            found[i], fits = t.flatten(0, 1), i not in plain and t.shape[1] == size
        else:
            fits = t.shape[0] == 1
            found[i] = t.expand(n, *t.shape[1:]) if fits and i < images else t
        if not fits:
            return None
    return found


def total(terms):
    """The sum of the terms that are there."""
    result = None
    for term in terms:
        result = term if result is None else result + term
    return result
