"""Registration of ops in the `svconv` namespace: schema, implementations, fake and autograd in one call."""
import torch

from svconv import backends
from svconv.ops._transforms import Op, batching

_LIBRARY = torch.library.Library("svconv", "DEF")
STEMS = {}


def register(stem, schema, fake, setup_context=None, backward=None, jvp=None, formula=None, batched=None):
    """Defines `svconv::<name>`; the schema's last argument must be `str backend` and is not passed on.

    fake: the output from the same arguments, shapes, dtype and strides only. Where one of the two leading tensors has no elements no
    backend is called and every output is zero. Results own their memory. jvp, formula: as in `Op`. batched: options of its batching rule
    as in `batching`; None leaves vmap to torch's loop. Returns the op as an `Op`.
    """
    name = schema[:schema.index("(")]
    STEMS[name] = stem
    _LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))

    def implementation(*arguments):
        *arguments, backend = arguments
        chosen = backends.choose(stem, name, arguments[0].device, backend, arguments)
        for t in arguments[:2]:
            if isinstance(t, torch.Tensor) and t.numel() == 0:
                return _each(torch.Tensor.zero_, fake(*arguments))
        return _each(_owned, chosen(*arguments))

    _LIBRARY.impl(name, implementation, "CompositeExplicitAutograd")
    torch.library.register_fake(f"svconv::{name}", lambda *arguments: fake(*arguments[:-1]), lib=_LIBRARY)
    if backward is not None:
        torch.library.register_autograd(f"svconv::{name}", backward, setup_context=setup_context, lib=_LIBRARY)
    overload = getattr(torch.ops.svconv, name).default
    if batched is not None:
        torch.library.register_vmap(f"svconv::{name}", batching(overload, **batched), lib=_LIBRARY)
    return Op(overload, implementation, setup_context, backward, jvp, formula)


def _each(function, result):
    return tuple(map(function, result)) if isinstance(result, tuple) else function(result)


def _owned(t):
    """A tensor that autograd does not take for a view: in-place changes of an op's result are the caller's right."""
    t = t.contiguous()
    return t.new_empty(0).set_(t.untyped_storage(), t.storage_offset(), t.shape, t.stride()) if t._is_view() else t
