"""Camera motion as a basis of local blur kernels: what a set of poses, shifts and rotations in the image plane, does at every patch."""
import functools
import math

import numpy as np
import torch

from svconv._shapes import Dims, check_tensor, computed, number, pair, shape_text
from svconv.ops.eff import check_grid


class _Applied(torch.autograd.Function):
    """B mu or B'k, each the other's gradient; the order of every sum is fixed."""

    generate_vmap_rule = True

    @staticmethod
    def forward(t, basis, back):
        return basis._backward(t) if back else basis._forward(t)

    @staticmethod
    def setup_context(ctx, inputs, output):
        _, ctx.basis, ctx.back = inputs

    @staticmethod
    def backward(ctx, g):
        return _Applied.apply(g, ctx.basis, not ctx.back), None, None

    @staticmethod
    def jvp(ctx, tangent, *_):
        return _Applied.apply(tangent, ctx.basis, ctx.back)


class MotionBasis:
    """The local kernels of camera poses: `k_r = sum_p mu_p b_rp`, b_rp the blur of pose p at patch r.

    Pose p = a S + s rotates by angles[a] about the image centre c = ((H-1)/2, (W-1)/2) and shifts by shifts[s]. It moves the patch centre
    c_r by `R (c_r - c) + c + shift - c_r`, R = [[cos, -sin], [sin, cos]] on (row, column): b_rp is a unit impulse there, shared
    bilinearly by the four pixels around, shift zero at (kh//2, kw//2). Impulses outside of the kernel are dropped.

    Args:
        grid: an `EFFGrid`.
        kernel_size: an int or (kh, kw).
        shifts: [S, 2], (rows, columns) in pixels; a tensor, an array or lists.
        angles: [A], in radians.

    Raises:
        ValueError, TypeError: naming the argument.

    Attributes:
        poses: P = A S. shape: (R, kh, kw) of its kernels.

    Linear, with gradients of every order; float32, float64, bfloat16 or float16 (computed in float32). Bit-identical from run to run.
    Memory: one index and four weights per patch and pose. Learning to Deblur (2016), Eq. (9).

    >>> import torch, svconv
    >>> basis = svconv.MotionBasis(svconv.EFFGrid((64, 64), (2, 2)), 5, shifts=[[0, 0], [0, 1]], angles=[0.0, 0.02])
    >>> basis
    MotionBasis(EFFGrid(image_size=(64, 64), grid=(2, 2), overlap=0.5, window='hann'), (5, 5), 2 shifts x 2 angles)
    >>> k = basis.kernels(torch.tensor([[0.5, 0.5, 0.0, 0.0]]))
    >>> k.shape, k[0, 0, 2].tolist()
    (torch.Size([1, 4, 5, 5]), [0.0, 0.0, 0.5, 0.5, 0.0])
    """

    def __init__(self, grid, kernel_size, *, shifts, angles):
        check_grid(grid)
        self.grid, self.kernel_size = grid, pair("kernel_size", kernel_size, least=1, integer=True)
        self.shifts, self.angles = _table("shifts", shifts, "S", 2), _table("angles", angles, "A")
        self.poses, self.shape = len(self.angles) * len(self.shifts), (grid.patches, *self.kernel_size)
        self._framed = grid.patches * (self.kernel_size[0] + 2) * (self.kernel_size[1] + 2)
        self._kept = {}

    @classmethod
    def default(cls, grid, kernel_size):
        """The whole-pixel shifts that fit the kernel, and rotations in steps that move the farthest corner of the image by one pixel.

        There are n = (min(kh, kw) - 1) // 2 rotations in either direction, as many as leave the corner inside of the kernel:
        P = kh kw (2n + 1) poses, 4913 for 17 x 17 pixels. The step is 2 asin(1/(2 d)), d the distance of the corner from the centre.

        Args:
            grid, kernel_size: as in the class.

        Returns:
            MotionBasis. About 100 bytes per patch and pose when it is used.

        >>> import svconv
        >>> svconv.MotionBasis.default(svconv.EFFGrid((64, 64), (2, 2)), 5)
        MotionBasis(EFFGrid(image_size=(64, 64), grid=(2, 2), overlap=0.5, window='hann'), (5, 5), 25 shifts x 5 angles)
        """
        check_grid(grid)
        size = pair("kernel_size", kernel_size, least=1, integer=True)
        shifts = torch.cartesian_prod(*(torch.arange(k, dtype=torch.float64) - k // 2 for k in size))
        corner, n = corner_distance(grid.image_size), (min(size) - 1) // 2 if max(grid.image_size) > 1 else 0
        step = 2 * math.asin(min(1.0, 0.5 / corner)) if n else 0.0
        return cls(grid, size, shifts=shifts, angles=[step * a for a in range(-n, n + 1)])

    @functools.cached_property
    def displacements(self):
        """float64 [R, P, 2]: how far (rows, columns) each pose moves each patch centre."""
        centre = torch.tensor([(n - 1) / 2 for n in self.grid.image_size], dtype=torch.float64)
        row, column = (self.grid.centers - centre).unbind(-1)
        cos, sin = self.angles.cos()[:, None], self.angles.sin()[:, None]
        turned = torch.stack([(cos - 1) * row - sin * column, sin * row + (cos - 1) * column], -1)
        return (turned.transpose(0, 1)[:, :, None] + self.shifts).flatten(1, 2)

    def _on(self, like):
        """The tables in the dtype and on the device of `like`, made once."""
        key = like.dtype, like.device
        if key not in self._kept:
            with torch.inference_mode(False):
                self._kept[key] = self._tables(*key)
        return self._kept[key]

    def _tables(self, dtype, device):
        """(int64 [R P 4], [R, P, 4]): the places and the weights in kernels with a frame of one pixel, which is cut off; no weight
        beyond."""
        size = torch.tensor(self.kernel_size, dtype=torch.float64)
        position = self.displacements + torch.div(size, 2, rounding_mode="floor")
        first = position.floor()
        after = position - first
        inside = ((first >= -1) & (first < size)).all(-1)
        first = torch.where(inside[..., None], first, 0).long() + 1
        wide, (rows, columns) = self.kernel_size[1] + 2, first.unbind(-1)
        corners = torch.tensor([0, 1, wide, wide + 1])
        patch = torch.arange(self.shape[0])[:, None] * ((self.kernel_size[0] + 2) * wide)
        places = ((patch + rows * wide + columns)[..., None] + corners).flatten()
        (top, left), (low, right) = (1 - after).unbind(-1), after.unbind(-1)
        weights = torch.stack([top * left, top * right, low * left, low * right], -1) * inside[..., None]
        return places.to(device), weights.to(device, dtype)

    def _forward(self, mu):
        places, weights = self._on(mu)
        kh, kw = self.kernel_size
        framed = mu.new_zeros((mu.shape[0], self._framed))
        values = (mu[:, None, :, None] * weights).reshape(mu.shape[0], weights.numel())
        if mu.device.type == "cpu":
            framed = framed.index_add(1, places, values)
        else:                                                       # sorted first, where index_add_ would use atomics
            framed = framed.mT.index_put((places,), values.mT, accumulate=True).mT
        return framed.reshape(mu.shape[0], self.shape[0], kh + 2, kw + 2)[..., 1:-1, 1:-1].contiguous()

    def _backward(self, k):
        places, weights = self._on(k)
        framed = torch.nn.functional.pad(k, (1, 1, 1, 1)).reshape(k.shape[0], self._framed)
        return (framed.index_select(1, places).reshape(k.shape[0], *weights.shape) * weights).sum((1, 3))

    def kernels(self, mu):
        """`B mu`: the kernel of every patch.

        Args:
            mu: weights of the poses, [B, P].

        Returns:
            [B, R, kh, kw], dtype of mu.
        """
        dims = Dims()
        dims.bind("the basis", P=self.poses)
        dims.check("mu", mu, "B P")
        return _Applied.apply(computed(mu), self, False).to(mu.dtype)

    def backproject(self, k):
        """`B'k`, the exact transpose of `kernels`.

        Args:
            k: [B, R, kh, kw].

        Returns:
            [B, P], dtype of k.
        """
        check_tensor("k", k)
        if k.dim() != 4 or k.shape[1:] != self.shape:
            raise ValueError(f"k: expected [B, {', '.join(map(str, self.shape))}], got {shape_text(k)}")
        return _Applied.apply(computed(k), self, True).to(k.dtype)

    def pose_weights(self, k, eta=1.0, fit_steps=0):
        """The weights that `project` makes kernels of: `B'k`, clipped at 0, the largest ones kept, scaled to sum one.

        `B'k` smooths; each of `fit_steps` steps mu <- mu max(B'k, 0) / B'B mu takes it nearer to the least squares |B mu - k|^2 with
        mu >= 0 (Daube-Witherspoon and Muehllehner, 1986). They are done before the largest weights are chosen, and again with those.

        Args:
            k: [B, R, kh, kw].
            eta: fraction of the poses that are kept, max(1, floor(eta P + 1/2)) of them, of equal ones the first; in (0, 1].
            fit_steps: an integer >= 0.

        Returns:
            [B, P], dtype of k. Where nothing is positive: one for the pose that moves the patches least, with zero gradient.
        """
        eta, fit_steps = number("eta", eta, above=0, most=1), number("fit_steps", fit_steps, least=0, integer=True)
        back = torch.relu(computed(self.backproject(k)))
        mu = self._fitted(back, back, fit_steps)
        if mu.numel():
            kept = torch.sort(mu.detach(), dim=1, descending=True, stable=True).indices[:, :max(1, int(eta * self.poses + 0.5))]
            mu = mu * torch.zeros_like(mu).scatter(1, kept, 1.0)
        if eta < 1:
            mu = self._fitted(mu, back, fit_steps)
        total = mu.sum(1, keepdim=True)
        rest = torch.nn.functional.one_hot(self.displacements.square().sum((0, 2)).argmin(), self.poses).to(mu.device, mu.dtype)
        return torch.where(total == 0, rest, mu / torch.where(total == 0, 1.0, total)).to(k.dtype)

    def _fitted(self, mu, back, steps):
        """mu after some steps; a weight that is 0 stays 0."""
        for _ in range(steps):
            mu = mu * back / self.backproject(self.kernels(mu)).clamp_min(torch.finfo(mu.dtype).tiny)
        return mu

    def project(self, k, eta=1.0, fit_steps=0):
        """The kernels of a camera motion near k: `B T(B'k)`, T clips at 0, keeps the largest weights and scales them to sum one.

        Args:
            k, eta, fit_steps: as in `pose_weights`.

        Returns:
            [B, R, kh, kw], dtype of k.

        >>> import torch, svconv
        >>> basis = svconv.MotionBasis(svconv.EFFGrid((32, 32), (2, 2)), 3, shifts=[[0, 0], [0, 1], [1, 0]], angles=[0.0])
        >>> k = basis.kernels(torch.tensor([[0.7, 0.3, 0.0]])) + 0.01
        >>> torch.allclose(basis.project(k, eta=0.34), basis.kernels(torch.tensor([[1.0, 0.0, 0.0]])))
        True
        """
        return self.kernels(self.pose_weights(k, eta, fit_steps))

    def __repr__(self):
        return f"MotionBasis({self.grid!r}, {self.kernel_size}, {len(self.shifts)} shifts x {len(self.angles)} angles)"


def corner_distance(image_size):
    """How far the corners of an image are from its centre."""
    return math.hypot(*((n - 1) / 2 for n in image_size))


def _table(name, values, letter, *columns):
    """float64 [n, *columns] on the CPU; numbers only, all finite."""
    text = f"[{', '.join((letter, *map(str, columns)))}]"
    try:
        table = torch.as_tensor(np.asarray(values.detach().cpu() if isinstance(values, torch.Tensor) else values, dtype=np.float64).copy())
    except (TypeError, ValueError):
        raise TypeError(f"{name}: expected numbers {text}, got {values!r}") from None
    if table.dim() != 1 + len(columns) or table.shape[1:] != columns or not len(table):
        raise ValueError(f"{name}: expected {text} with {letter} >= 1, got {shape_text(table)}")
    if not bool(table.isfinite().all()):
        raise ValueError(f"{name}: expected finite numbers, got one that is not")
    return table
