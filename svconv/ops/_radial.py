"""A radial family is a blur whose kernel at each pixel is made of one number of a map there: linear in the image, differentiable once in
the map.

With D the blur that has the derivative of the weights in the place of the weights, the gradient in the map is `g . D(x)` in the gather
form (the kernel belongs to the output pixel) and `x . D'(g)` in the scatter form, whatever the boundary: the map goes on as the image does.
"""
import collections

import torch

from svconv.ops._library import register
from svconv.ops._transforms import total

Radial = collections.namedtuple("Radial", "fwd adjoint bwd slope_fwd slope_adjoint")


def radial(stem, parameter, options):
    """Registers `<stem>_blur_fwd(x, map, form, *options)`, `_adjoint(y, ...)`, `_bwd_<parameter>(x, g, map, ...)`, and `<stem>_slope_fwd`,
    `<stem>_slope_adjoint`, which are D and its transpose.

    Args:
        stem: the family. parameter: the name of the map. options: the schema of what follows it, beginning with "str form".

    Returns:
        Radial(fwd, adjoint, bwd, slope_fwd, slope_adjoint): the ops; each takes the forced backend ("" for none) as its last argument.
    """
    rest = f"{options}, str backend"

    def setup(ctx, inputs, output):
        first, second, *ctx.rest = inputs
        ctx.save_for_backward(first, second)

    def setup_bwd(ctx, inputs, output):
        x, g, r, *ctx.rest = inputs
        ctx.save_for_backward(x, g, r)
        ctx.set_materialize_grads(False)        # a tangent of zeros would be one of the map

    def setup_slope(ctx, inputs, output):
        setup(ctx, inputs, output)
        ctx.set_materialize_grads(False)

    def refused(*_):
        raise NotImplementedError(f"{stem}_blur: the gradient in {parameter} is of first order, it has no derivative in {parameter} again")

    once = _passed_once(refused)

    def gradients(ctx, upstream, *makers):
        found = [make() if needed and upstream is not None else None for make, needed in zip(makers, ctx.needs_input_grad)]
        return *found, *[None] * len(ctx.rest)

    def of_fwd(ctx, g):
        x, r = ctx.saved_tensors
        return gradients(ctx, g, lambda: adjoint(g, r, *ctx.rest), lambda: bwd(x, g, once(r), *ctx.rest))

    def of_adjoint(ctx, g):
        y, r = ctx.saved_tensors
        return gradients(ctx, g, lambda: fwd(g, r, *ctx.rest), lambda: bwd(g, y, once(r), *ctx.rest))

    def zero(r):
        """What `once`, which every map on its way here has passed, does not let through."""
        return r.new_zeros(()).expand(r.shape)

    def weighed(u, t):
        return (u * t).to(t.dtype)

    def of_bwd(ctx, u):
        x, g, r = ctx.saved_tensors
        makers = lambda: d_transposed(u, g, once(r), *ctx.rest), lambda: d_applied(u, x, once(r), *ctx.rest), lambda: zero(r)
        return gradients(ctx, u, *makers)

    def d_applied(u, x, r, form, *others):
        """The derivative of the blur of x where the map changes by u."""
        return weighed(u, slope_fwd(x, r, form, *others)) if form == "gather" else slope_fwd(weighed(u, x), r, form, *others)

    def d_transposed(u, y, r, form, *others):
        return slope_adjoint(weighed(u, y), r, form, *others) if form == "gather" else weighed(u, slope_adjoint(y, r, form, *others))

    def of_slope_fwd(ctx, g):
        _, r = ctx.saved_tensors
        return gradients(ctx, g, lambda: slope_adjoint(g, r, *ctx.rest), lambda: zero(r))

    def of_slope_adjoint(ctx, g):
        _, r = ctx.saved_tensors
        return gradients(ctx, g, lambda: slope_fwd(g, r, *ctx.rest), lambda: zero(r))

    def jvp_of(op, derivative):
        def jvp(primals, tangents):
            t, r, *others = primals
            dt, dr = tangents[:2]
            return total(term() for given, term in ((dt, lambda: op()(dt, r, *others)), (dr, lambda: derivative(dr, t, r, *others)))
                         if given is not None)
        return jvp

    def jvp_of_bwd(primals, tangents):
        x, g, r, *others = primals
        dx, dg, dr = tangents[:3]
        if dr is not None:
            refused()
        return total(bwd(*pair, r, *others) for given, pair in ((dx, (dx, g)), (dg, (x, dg))) if given is not None)

    def like(x, *a):
        return x.new_empty(x.shape)

    def made(name, first, backward, jvp, setup=setup):
        return register(stem, f"{name}(Tensor {first}, Tensor {parameter}, {rest}) -> Tensor", like, setup, backward, jvp, batched={})

    fwd = made(f"{stem}_blur_fwd", "x", of_fwd, jvp_of(lambda: fwd, d_applied))
    adjoint = made(f"{stem}_blur_adjoint", "y", of_adjoint, jvp_of(lambda: adjoint, d_transposed))
    bwd = register(stem, f"{stem}_blur_bwd_{parameter}(Tensor x, Tensor g, Tensor {parameter}, {rest}) -> Tensor",
                   lambda x, g, r, *a: r.new_empty(r.shape), setup_bwd, of_bwd, jvp_of_bwd, batched={"folds": False})
    slope_fwd = made(f"{stem}_slope_fwd", "x", of_slope_fwd, jvp_of(lambda: slope_fwd, refused), setup_slope)
    slope_adjoint = made(f"{stem}_slope_adjoint", "y", of_slope_adjoint, jvp_of(lambda: slope_adjoint, refused), setup_slope)
    return Radial(fwd, adjoint, bwd, slope_fwd, slope_adjoint)


def _passed_once(refused):
    """A function that hands a map on and raises where a derivative would come back through it. The error is a node of the graph, so that
    the mixed derivatives can be asked for alone."""

    class Once(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(r):
            return r.view_as(r)

        @staticmethod
        def setup_context(ctx, inputs, output):
            pass

        backward = staticmethod(lambda ctx, g: refused())
        jvp = staticmethod(lambda ctx, tangent: refused())

    return lambda r: Once.apply(r) if r.requires_grad else r
