"""What a solver is given and what it gives back: precisions, PSFs that let no light through, pixels that are not finite."""
import dataclasses

import torch

from svconv._shapes import HALF, check_device, check_tensor, computed, readable, shape_text
from svconv.operators import Operator


@dataclasses.dataclass
class Checked:
    """Build it with `checked`.

    Attributes:
        op, y, mask: as given, in float32 where y has a half type; mask in the dtype of y, over the axis M.
        dead: None, or bool [B|1, C|1, 1, 1], the PSFs that are dead where the host could not look.
        dtype: that of the image as it was given.
    """

    op: Operator
    y: torch.Tensor
    mask: "torch.Tensor | None"
    dead: "torch.Tensor | None"
    dtype: torch.dtype

    def finished(self, x):
        """A solution in the image's own dtype; where the PSF is dead the image as it came, the mean of several."""
        if self.dead is not None:
            _, y, _ = observed(self.y, self.mask)
            x = torch.where(self.dead, y if y.dim() == 4 else y.mean(2), x)
        return x.to(self.dtype)


def checked(op, y, mask=None, name="op"):
    """Checked, of an operator, named `name` in errors, an observation y and an optional mask; raises unless they fit one another. A used
    pixel that is not finite, and a dead PSF where the host sees it, is an error."""
    if not isinstance(op, Operator):
        raise TypeError(f"{name}: expected an operator such as svconv.Conv or svconv.PixelFilter, got {type(op).__name__}")
    if op.maps[0] is not None:
        raise ValueError(f"{name}: expected an operator on images [B, C, H, W], got {op!r}")
    check_tensor("y", y)
    dtype = y.dtype
    op._check_input("y", y, op.maps[1])
    op, y = widened(name, op, "y", y)
    dead = _dead(name, op)
    if mask is not None:
        mask = _check_mask(mask, y)
    _check_finite(y, mask)
    return Checked(op, y, mask, dead, dtype)


def widened(name, op, like_name, like):
    """(op, like) as they are computed, in float32 for half types; a TypeError where they are not of one precision."""
    wrong = op.misfit(like.dtype)
    if wrong is not None:
        casts = torch.is_autocast_enabled(like.device.type) and torch.float64 not in (wrong, like.dtype)
        if not casts:
            raise TypeError(f"{name}: expected {like.dtype} like {like_name}, got {wrong}")
    if wrong is None and like.dtype not in HALF:
        return op, like
    return (op.with_tensors([computed(t) for t in op.tensors]) if op.tensors else op), computed(like)


def _dead(name, op):
    with torch.no_grad():
        total, size = op.light()
        spoiled, empty = ~torch.isfinite(size), size == 0
        negative = total < -1e-4 * size         # what sums to zero, as differences do, sums to some rounding error
        dead = spoiled | empty | negative
        if not readable(dead):
            return dead[..., None, None]
    for wrong, expected, got in ((spoiled, "finite values", "NaN or infinity"), (empty, "a PSF that is not zero", "only zeros"),
                                 (negative, "weights >= 0 in total", "a negative sum")):
        if bool(wrong.any()):
            sample, channel = wrong.nonzero()[0].tolist()
            place = ", ".join(filter(None, (f"sample {sample}, channel {channel}", op.dead_part(sample, channel))))
            raise ValueError(f"{name}: expected {expected}, got {got} ({place})")
    return None


def _check_finite(y, mask):
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return
    used = y if mask is None else torch.where(mask > 0, y, 0)
    bad = int((~torch.isfinite(used)).sum())
    if bad:
        raise ValueError(f"y: expected finite pixels, got {bad} that are NaN or infinite (mask= leaves bad pixels out)")


def _check_mask(mask, y):
    if not isinstance(mask, torch.Tensor):
        raise TypeError(f"mask: expected a torch.Tensor, got {type(mask).__name__}")
    check_device("y", y, "mask", mask)
    fits = mask.dim() == 4 and mask.shape[0] in (1, y.shape[0]) and mask.shape[1] in (1, y.shape[1]) and mask.shape[-2:] == y.shape[-2:]
    if not fits:
        raise ValueError(f"mask: expected [B|1, C|1, H, W] for y {shape_text(y)}, got {shape_text(mask)}")
    mask = mask.to(y.dtype)
    if not bool((mask >= 0).all()):
        raise ValueError("mask: expected weights >= 0 (1 = use the pixel), got a negative one or NaN")
    return over_maps(mask, y)


def over_maps(mask, y):
    """[.., H, W] as a view [.., M, H, W] where y has an axis M."""
    return mask if y.dim() == 4 else mask.unsqueeze(2).expand(-1, -1, y.shape[2], -1, -1)


def observed(y, mask):
    """(y with 0 where the mask leaves a pixel out, y with the mean of the others there, mask)."""
    if mask is None:
        return y, y, None
    clean = torch.where(mask > 0, y, 0)
    count = mask.expand_as(y).sum((-2, -1), keepdim=True).clamp_min(torch.finfo(y.dtype).tiny)
    return clean, torch.where(mask > 0, y, (clean * mask).sum((-2, -1), keepdim=True) / count), mask
