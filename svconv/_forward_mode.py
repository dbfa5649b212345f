"""Forward mode inside of the jvp of an autograd.Function: torch switches it off there, for the levels of outer transforms too, whose
tangents would be lost in silence."""
import torch
from torch.autograd import forward_ad


def outer_levels():
    """A context in which the levels of outer transforms are followed; what the Function saved goes through `primal` first."""
    return forward_ad._set_fwd_grad_enabled(True)


def primal(t):
    """t without its tangent at the Function's own level, for which vmap has no rule."""
    functorch = torch._C._functorch
    if not functorch.is_batchedtensor(t):
        return forward_ad.unpack_dual(t).primal
    return functorch._add_batch_dim(primal(functorch.get_unwrapped(t)), functorch.maybe_get_bdim(t), functorch.maybe_get_level(t))
