"""Registration of ops in the `svconv` namespace: schema, implementations, fake and autograd in one call."""
import torch

from svconv import backends

_LIBRARY = torch.library.Library("svconv", "DEF")
STEMS = {}


def register(stem, schema, fake, setup_context=None, backward=None):
    """Defines `svconv::<name>`; the schema's last argument must be `str backend` and is not passed on.

    fake: the output from the same arguments, shapes, dtype and strides only. Returns the op's default overload.
    """
    name = schema[:schema.index("(")]
    STEMS[name] = stem
    _LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))

    def implementation(*arguments):
        *arguments, backend = arguments
        return backends.choose(stem, name, arguments[0].device, backend, arguments)(*arguments)

    _LIBRARY.impl(name, implementation, "CompositeExplicitAutograd")
    torch.library.register_fake(f"svconv::{name}", lambda *arguments: fake(*arguments[:-1]), lib=_LIBRARY)
    if backward is not None:
        torch.library.register_autograd(f"svconv::{name}", backward, setup_context=setup_context, lib=_LIBRARY)
    return getattr(torch.ops.svconv, name).default
