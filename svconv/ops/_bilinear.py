"""A bilinear family is three ops, y = W x, x = W' y and the gradient in W, which are each other's gradients: every order of derivative
exists."""

import collections

from svconv.ops._library import register
from svconv.ops._transforms import multilinear

Bilinear = collections.namedtuple("Bilinear", "fwd adjoint bwd")


def bilinear(stem, name, weights, y_like, x_like, options=""):
    """Registers `<name>_fwd(x, w, *options)`, `<name>_adjoint(y, w, *options)` and `<name>_bwd_<weights>(x, g, shape, dtype, *options)`.

    Args:
        stem: the family, whose backends implement the three functions. weights: the name of w.
        y_like, x_like: the shape of y from (x, w, *options), that of x from (y, w, *options).
        options: the schema of what follows the tensors, for example "str padding".

    Returns:
        Bilinear(fwd, adjoint, bwd): the ops; each takes the forced backend ("" for none) as its last argument.
    """
    rest = f"{options}, str backend" if options else "str backend"

    def setup(ctx, inputs, output):
        first, second, *ctx.rest = inputs
        ctx.save_for_backward(first, second)

    def setup_bwd(ctx, inputs, output):
        x, g, _, _, *ctx.rest = inputs
        ctx.save_for_backward(x, g)

    def gradients(ctx, first, second, others=0):
        """The gradients in the two tensors, made only where needed, and None for all that follows."""
        found = [make() if needed else None for make, needed in zip((first, second), ctx.needs_input_grad)]
        return *found, *[None] * (others + len(ctx.rest))

    def of_fwd(ctx, g):
        x, w = ctx.saved_tensors
        return gradients(ctx, lambda: adjoint(g, w, *ctx.rest), lambda: bwd(x, g, w.shape, w.dtype, *ctx.rest))

    def of_adjoint(ctx, g):
        y, w = ctx.saved_tensors
        return gradients(ctx, lambda: fwd(g, w, *ctx.rest), lambda: bwd(g, y, w.shape, w.dtype, *ctx.rest))

    def of_bwd(ctx, upstream):
        x, g = ctx.saved_tensors
        return gradients(ctx, lambda: adjoint(g, upstream, *ctx.rest), lambda: fwd(x, upstream, *ctx.rest), others=2)

    fwd = register(
        stem,
        f"{name}_fwd(Tensor x, Tensor {weights}, {rest}) -> Tensor",
        lambda x, *a: x.new_empty(y_like(x, *a)),
        setup,
        of_fwd,
        multilinear(lambda: fwd, 0, 1),
        batched={},
    )
    adjoint = register(stem, f"{name}_adjoint(Tensor y, Tensor {weights}, {rest}) -> Tensor", lambda y, *a: y.new_empty(x_like(y, *a)),
                       setup, of_adjoint, multilinear(lambda: adjoint, 0, 1), batched={})
    bwd = register(stem, f"{name}_bwd_{weights}(Tensor x, Tensor g, SymInt[] shape, ScalarType dtype, {rest}) -> Tensor",
                   lambda x, g, shape, dtype, *a: x.new_empty(shape, dtype=dtype), setup_bwd, of_bwd,
                   multilinear(lambda: bwd, 0, 1), batched={"images": 2, "summed": 2})
    return Bilinear(fwd, adjoint, bwd)
