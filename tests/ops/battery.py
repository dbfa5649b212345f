"""The contract of an op family as tests: a family describes its functions as `Call` values, and `Battery` yields what must hold for each
of them.

    class TestPixelFilter(Battery):
        stem, op, calls = "pixel_filter", "pixel_filter_fwd", (Call("pixel_filter", make, run, oracle=...,
        adjoint="pixel_filter_adjoint"), ...)

`conftest.py` parametrises `call`, `padding` and `backend` from the class.
"""
import dataclasses
import math
from collections.abc import Callable

import pytest
import torch

from oracles import PADDINGS, close

HALF = (torch.bfloat16, torch.float16)


@dataclasses.dataclass(frozen=True)
class Call:
    """One public function.

    Attributes:
        name: of the function.
        make: (b, c, hw, seed) -> its tensors in float64, the image [B, C, ..., H, W] first.
        run: (*tensors, padding=, backend=) -> its result; `padding` is one of `paddings`.
        oracle: (*float64 tensors, padding) -> the expected result by other means.
        adjoint: name of the call that is its transpose in the first tensor; the others are the same.
        linear: whether it is linear in the image (an image of zeros then gives zeros).
        scale: how many times the tolerance of the dtype the sum of rounding errors may reach.
        spread: whether a NaN may reach every pixel of its plane (transforms) or only its window.
        once: positions of the tensors with a derivative of first order only.
        computes: the dtype that half types are cast to first and the result is rounded from; None: sums of products are rounded once.
    """

    name: str
    make: Callable
    run: Callable
    oracle: Callable
    paddings: tuple = PADDINGS
    adjoint: str | None = None
    linear: bool = True
    scale: float = 10.0
    spread: bool = False
    once: tuple = ()
    computes: torch.dtype | None = None

    def tensors(self, dtype=torch.float64, b=2, c=3, hw=(9, 8), seed=0):
        return tuple(t.to(dtype) for t in self.make(b, c, hw, seed))

    def twice(self, tensors):
        """The tensors for second derivatives: those of first order only are constants."""
        return [t.detach() if i in self.once else t for i, t in enumerate(tensors)]


def channels_last(x):
    return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x


def sliced(x):
    if x.dim() < 2:
        return x
    wide = torch.full((*x.shape[:-2], x.shape[-2] + 3, 2 * x.shape[-1] + 1), math.nan, dtype=x.dtype)
    part = wide[..., 2:-1, 1::2]
    part.copy_(x)
    return part


def turned(x):
    return x.mT.contiguous().mT if x.dim() >= 4 else x


class Battery:
    """Subclass it as `Test...` with `stem`, `op` (one op of the family, to find the backends) and `calls`."""

    calls = ()

    def other(self, name):
        return next(call for call in self.calls if call.name == name)

    # values

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    def test_matches_the_oracle(self, call, padding, backend, dtype, nan_memory):
        tensors = call.tensors(dtype)
        close(call.run(*tensors, padding=padding, backend=backend), call.oracle(*(t.double() for t in tensors), padding), scale=call.scale)

    @pytest.mark.parametrize("hw", [(1, 1), (1, 5), (4, 1), (2, 3), (33, 129)])
    def test_sizes(self, call, padding, backend, hw, nan_memory):
        tensors = call.tensors(b=1, c=2, hw=hw)
        close(call.run(*tensors, padding=padding, backend=backend), call.oracle(*tensors, padding), scale=10 * call.scale)

    def test_the_adjoint_is_the_transpose(self, call, padding, backend):
        if call.adjoint is None:
            return
        x, *rest = call.tensors(hw=(7, 6))
        ax = call.run(x, *rest, padding=padding, backend=backend)
        y = torch.randn(ax.shape, dtype=torch.float64)
        aty = self.other(call.adjoint).run(y, *rest, padding=padding, backend=backend)
        scale = float(ax.norm() * y.norm()) + 1e-300
        assert aty.shape == x.shape and abs(float((ax * y).sum() - (x * aty).sum())) <= 1e-13 * scale

    # gradients

    def test_gradients_of_first_and_second_order(self, call, padding, backend):
        tensors = [t.requires_grad_() for t in call.tensors(b=1, c=2, hw=(4, 3))]
        assert torch.autograd.gradcheck(lambda *t: call.run(*t, padding=padding, backend=backend), tensors, fast_mode=True)
        assert torch.autograd.gradgradcheck(lambda *t: call.run(*t, padding=padding, backend=backend), call.twice(tensors), fast_mode=True)

    def test_gradients_in_every_mode(self, call, backend):
        """Forward, reverse, batched, forward over reverse."""
        padding = call.paddings[-1]
        tensors = [t.requires_grad_() for t in call.tensors(b=1, c=1, hw=(3, 4))]

        def function(*t):
            return call.run(*t, padding=padding, backend=backend)

        assert torch.autograd.gradcheck(function, tensors, check_forward_ad=True, check_batched_grad=True, check_batched_forward_grad=True)
        assert torch.autograd.gradgradcheck(function, call.twice(tensors), check_fwd_over_rev=True, fast_mode=True)

    def test_torch_func(self, call, padding, backend):
        x, *rest = call.tensors(b=1, c=2, hw=(4, 3))
        v = torch.randn_like(x)

        def loss(x):
            return call.run(x, *rest, padding=padding, backend=backend).square().sum()

        leaf = x.clone().requires_grad_()
        (expected,) = torch.autograd.grad(loss(leaf), leaf, create_graph=True)
        (second,) = torch.autograd.grad(expected, leaf, v)
        expected = expected.detach()
        gradient = torch.func.grad(loss)
        assert torch.allclose(gradient(x), expected)
        assert torch.isclose(torch.func.jvp(loss, (x,), (v,))[1], (expected * v).sum())
        assert torch.allclose(torch.func.jvp(gradient, (x,), (v,))[1], second)
        assert torch.allclose(torch.func.vjp(gradient, x)[1](v)[0], second)
        many = torch.stack([x, 2 * x, x - v])
        assert torch.allclose(torch.vmap(gradient)(many), torch.stack([gradient(one) for one in many]))

    def test_a_compiled_torch_func_gradient(self, call):
        x, *rest = call.tensors(b=1, c=2, hw=(4, 3))
        torch._dynamo.reset()
        gradient = torch.func.grad(lambda x: call.run(x, *rest, padding=call.paddings[-1], backend=None).square().sum())
        assert torch.allclose(torch.compile(gradient, backend="aot_eager")(x), gradient(x))

    def test_vmap_folds_into_the_batch(self, call, padding, backend):
        x, *rest = call.tensors(b=1)
        many = torch.stack([x, -x, x.flip(-1)], 2)
        together = torch.vmap(lambda x: call.run(x, *rest, padding=padding, backend=backend), in_dims=2)(many)
        close(
            together,
            torch.stack([call.run(many.select(2, i), *rest, padding=padding, backend=backend) for i in range(3)]),
            scale=call.scale,
        )

    def test_gradients_through_permuted_inputs(self, call, backend):
        def back(t):
            return t.mT if t.dim() >= 4 else t

        bases = [back(turned(t)).detach().requires_grad_() for t in call.tensors(b=1, c=2, hw=(3, 4))]
        assert torch.autograd.gradcheck(
            lambda *t: call.run(*map(back, t), padding=call.paddings[-1], backend=backend), bases, fast_mode=True
        )

    def test_results_may_be_changed_in_place(self, call, backend):
        tensors = [t.requires_grad_() for t in call.tensors()]
        call.run(*tensors, padding=call.paddings[0], backend=backend).clamp_(min=0).sum().backward()
        assert all(t.grad is not None and t.grad.shape == t.shape for t in tensors)

    @pytest.mark.parametrize("b,c", [(0, 2), (2, 0), (0, 0)])
    def test_empty_batches_keep_the_graph(self, call, padding, backend, b, c):
        tensors = [t.requires_grad_() for t in call.tensors(b=b, c=c)]
        y = call.run(*tensors, padding=padding, backend=backend)
        assert y.shape[0] == b and not y.any()
        y.sum().backward()
        assert all(t.grad.shape == t.shape and not t.grad.any() for t in tensors)

    # layouts

    def test_strides(self, call, padding, backend):
        tensors = call.tensors()
        expected = call.run(*tensors, padding=padding, backend=backend)
        for layout in (channels_last, sliced, turned, lambda t: t.flip(-1).contiguous().flip(-1)):
            y = call.run(*map(layout, tensors), padding=padding, backend=backend)
            assert y.is_contiguous()
            close(y, expected, scale=call.scale)

    def test_expanded_images(self, call, backend):
        x, *rest = call.tensors()
        x = x[:1, :1].expand(x.shape)
        y = call.run(x, *rest, padding=call.paddings[0], backend=backend)
        close(y, call.run(x.contiguous(), *rest, padding=call.paddings[0], backend=backend), scale=call.scale)

    def test_huge_strides_on_tiny_tensors(self, call, backend):
        x, *rest = call.tensors(b=2, c=2, hw=(2, 2))
        memory = torch.zeros(2**20 + 8, dtype=x.dtype)
        far = memory.as_strided(x.shape, (2**19, 2**18, *[2**17] * (x.dim() - 4), 2**16, 1))
        far.copy_(x)
        close(
            call.run(far, *rest, padding=call.paddings[0], backend=backend),
            call.run(x, *rest, padding=call.paddings[0], backend=backend),
            scale=call.scale,
        )

    # types

    @pytest.mark.parametrize("dtype", HALF)
    def test_half_types(self, call, backend, dtype):
        tensors = call.tensors(dtype)
        padding = call.paddings[-1]
        y = call.run(*tensors, padding=padding, backend=backend)
        assert y.dtype == dtype
        if call.computes is None:
            close(y, call.oracle(*(t.double() for t in tensors), padding), scale=2)
        else:
            assert torch.equal(y, call.run(*(t.to(call.computes) for t in tensors), padding=padding, backend=backend).to(dtype))

    def test_autocast(self, call, backend):
        tensors = call.tensors(torch.float32)
        first = tensors[0].bfloat16().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = call.run(first, *tensors[1:], padding=call.paddings[0], backend=backend)
        assert y.dtype == torch.float32
        y.sum().backward()
        assert first.grad.dtype == torch.bfloat16

    # determinism, NaN

    def test_two_runs_and_any_number_of_threads_give_equal_bits(self, call, backend):
        tensors = call.tensors(torch.float32, b=1, c=2, hw=(150, 170))
        before, counts = torch.get_num_threads(), (2, 2) if backend == "reference" else (1, 2, 3)
        try:
            runs = []
            for count in counts:
                torch.set_num_threads(count)
                runs.append(call.run(*tensors, padding=call.paddings[-1], backend=backend))
        finally:
            torch.set_num_threads(before)
        assert all(torch.equal(runs[0], run) for run in runs[1:])

    def test_nan_stays_in_its_own_plane(self, call, padding, backend):
        x, *rest = call.tensors(hw=(9, 40))
        clean = call.run(x, *rest, padding=padding, backend=backend)
        bad = x.clone()
        bad[1, 1, ..., 4, 20] = math.nan
        spoiled = call.run(bad, *rest, padding=padding, backend=backend)
        assert spoiled[1].isnan().any() and torch.equal(spoiled[0], clean[0])
        if not call.spread and spoiled.dim() >= 4:
            assert torch.equal(spoiled[1, 0], clean[1, 0]) and torch.equal(spoiled[1, 1, ..., 30:], clean[1, 1, ..., 30:])

    # registration

    @pytest.mark.parametrize("layout", [torch.Tensor.contiguous, channels_last])
    def test_opcheck(self, layout):
        for op, arguments in self.registered():
            arguments = [layout(a).detach().requires_grad_() if isinstance(a, torch.Tensor) else a for a in arguments]
            torch.library.opcheck(op.overload, arguments)

    def test_compiles_in_one_graph_once(self, call):
        torch._dynamo.reset()
        counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")

        def loss(*tensors):
            return call.run(*tensors, padding=call.paddings[-1], backend=None).square().sum()

        compiled = torch.compile(loss, fullgraph=True, backend=counter)
        for seed in (1, 2):
            tensors = [t.requires_grad_() for t in call.tensors(seed=seed)]
            expected, actual = (torch.autograd.grad(f(*tensors), tensors) for f in (loss, compiled))
            assert all(torch.allclose(a, e) for a, e in zip(actual, expected))
        assert counter.frame_count == 1

    # errors

    def test_bad_images_paddings_and_backends_are_named(self, call):
        x, *rest = call.tensors(torch.float32)

        def refused(error, match, image=x, padding=call.paddings[0], backend=None):
            with pytest.raises(error, match=match):
                call.run(image, *rest, padding=padding, backend=backend)

        refused(TypeError, "expected dtype float32, float64, bfloat16 or float16, got torch.int64", image=x.long())
        refused(TypeError, "expected a torch.Tensor, got (list|ndarray)", image=x.numpy())
        refused(ValueError, r"expected \[B, ", image=x[0])
        refused(ValueError, "H >= 1", image=x[..., :0, :])
        refused(TypeError, "expected (device|dtype)", image=x.double())
        refused(ValueError, "backend: expected one of cuda", backend="none")
        if len(call.paddings) > 1:
            refused(ValueError, "padding: expected one of zeros, .*got 'same'", padding="same")
            refused(ValueError, "padding: .*got 3", padding=3)
