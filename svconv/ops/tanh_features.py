"""The learned features of Learning to Deblur in one pass over the image; not among the public ops.

    h_0 = tanh(f * [x, latent] + b_0),  h_i = tanh(R_i h_{i-1} + b_i),  y = L h_last          borders replicated

The gradient is one fused op; the gradient of that op goes through the differentiable formulas of the reference.
"""
from svconv import backends
from svconv._shapes import check_image, check_tensor, shape_text, unify
from svconv.ops._formula import save, second_order
from svconv.ops._library import register
from svconv.reference import tanh_features as reference


def _fake_bwd(g, x, latent, filters, hidden, biases, last, need):
    return tuple(g.new_empty(t.shape if wanted else 0) for t, wanted in zip((x, latent, filters, hidden, biases, last), need))


_bwd = register(
    "tanh_features",
    "tanh_features_bwd(Tensor g, Tensor x, Tensor? latent, Tensor filters, Tensor hidden, Tensor? biases, Tensor last, "
    "bool[6] need, str backend) "
    "-> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    _fake_bwd,
    save(7),
    second_order(reference.tanh_features_bwd),
    formula=reference.tanh_features_bwd,
)


def _backward(ctx, g):
    need = [bool(wanted) for wanted in ctx.needs_input_grad[:6]]
    grads = _bwd(g, *ctx.saved_tensors, need, ctx.backend)
    return *(t if wanted else None for t, wanted in zip(grads, need)), None


_fwd = register(
    "tanh_features",
    "tanh_features_fwd(Tensor x, Tensor? latent, Tensor filters, Tensor hidden, Tensor? biases, Tensor last, str backend) -> Tensor",
    lambda x, latent, filters, hidden, biases, last: x.new_empty((x.shape[0], last.shape[0], x.shape[2], x.shape[3])), save(6), _backward,
    formula=reference.tanh_features_fwd)


def tanh_features(x, latent, filters, hidden, biases, last, *, backend=None):
    """y = L h_last with h_0 = tanh(f * [x, latent] + b_0) and h_i = tanh(R_i h_{i-1} + b_i), f * being a correlation.

    Args:
        x: [B, C0, H, W], any strides; borders are replicated. latent: [B, C1, H, W] or None, further channels behind those of x.
        filters: [N, C0 + C1, k, k], k odd. hidden: [L, N, N], L may be 0. biases: [L + 1, N] or None. last: [O, N].
        backend: force "triton" (gradients in float32 and half types, of one hidden layer at most), "cpu" (float32) or "reference"; None
            chooses.

    Returns:
        [B, O, H, W], contiguous.

    Raises:
        ValueError: a shape that does not fit. TypeError: a dtype or device that does not fit. RuntimeError: the forced backend cannot run.

    First and second order gradients in everything. Forward bit-identical for any number of threads, gradients for a fixed number. Memory
    beside the result: under 1 MiB per thread on "cpu"; no maps are kept for the gradient, which computes them anew strip by strip (the
    second order keeps them); on "triton" the gradient takes N maps of the image's size. tanh on "cpu" is within 4 units in the last place.
    Learning to Deblur (2016), the feature module.

    >>> import torch
    >>> from svconv.ops.tanh_features import tanh_features
    >>> y = tanh_features(torch.ones(1, 1, 2, 3), None, torch.ones(1, 1, 3, 3), torch.zeros(0, 1, 1), None, torch.ones(1, 1))
    >>> torch.allclose(y, torch.ones(1, 1, 2, 3))
    True
    """
    check_image("x", x)
    if latent is not None:
        check_image("latent", latent)
        if (latent.shape[0], *latent.shape[2:]) != (x.shape[0], *x.shape[2:]):
            raise ValueError(f"latent: expected batch, height and width of x {shape_text(x)}, got {shape_text(latent)}")
    for name, t in (("filters", filters), ("hidden", hidden), ("last", last)) + (() if biases is None else (("biases", biases),)):
        check_tensor(name, t)
    channels = x.shape[1] + (0 if latent is None else latent.shape[1])
    number, size = (filters.shape[0], filters.shape[-1]) if filters.dim() == 4 else (0, 0)
    if size % 2 == 0 or number == 0 or filters.shape[1:] != (channels, size, size):
        raise ValueError(f"filters: expected [N, {channels}, k, k] with N >= 1 and k odd, got {shape_text(filters)}")
    if hidden.dim() != 3 or hidden.shape[1:] != (number, number):
        raise ValueError(f"hidden: expected [L, {number}, {number}], got {shape_text(hidden)}")
    if biases is not None and biases.shape != (hidden.shape[0] + 1, number):
        raise ValueError(f"biases: expected [{hidden.shape[0] + 1}, {number}], got {shape_text(biases)}")
    if last.dim() != 2 or last.shape[1] != number:
        raise ValueError(f"last: expected [O, {number}], got {shape_text(last)}")
    others = dict(latent=latent, filters=filters, hidden=hidden, biases=biases, last=last)
    x, others = unify("x", x, others)
    return _fwd(x, *others, backends.requested(backend))
