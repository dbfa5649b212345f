"""Checks of arguments shared by the ops: each names the argument, what was expected and what came."""
import torch

HALF = (torch.float16, torch.bfloat16)
DTYPES = (torch.float32, torch.float64) + HALF


def shape_text(t):
    return "[" + ", ".join(str(int(n)) for n in t.shape) + "]"


def check_tensor(name, t):
    if not isinstance(t, torch.Tensor):
        raise TypeError(f"{name}: expected a torch.Tensor, got {type(t).__name__}")
    if t.dtype not in DTYPES:
        raise TypeError(f"{name}: expected dtype float32, float64, bfloat16 or float16, got {t.dtype}")


def check_image(name, x):
    """A floating tensor [B, C, H, W] with H, W >= 1."""
    check_tensor(name, x)
    if x.dim() != 4:
        raise ValueError(f"{name}: expected [B, C, H, W], got {shape_text(x)}")
    if x.shape[-1] == 0 or x.shape[-2] == 0:
        raise ValueError(f"{name}: expected H >= 1 and W >= 1, got {shape_text(x)}")


def check_axis(name, t, axis, allowed, meaning):
    """`t.shape[axis]` must be one of `allowed`."""
    if t.shape[axis] not in allowed:
        wanted = " or ".join(str(int(n)) for n in dict.fromkeys(allowed))
        raise ValueError(f"{name}: expected {meaning} = {wanted} at axis {axis}, got {shape_text(t)}")


def check_device(first_name, first, name, t):
    if t.device != first.device:
        raise TypeError(f"{name}: expected device {first.device} like {first_name}, got {t.device}")


def unify(image_name, image, others, half_beside_float32=()):
    """Brings the tensors of one call to the dtypes an op accepts.

    All share the image's dtype; the names in `half_beside_float32` may be bfloat16/float16 beside a float32 image.
    Under autocast anything else that mixes float32 and half types is cast to float32; otherwise it is a TypeError.
    `others` maps names to tensors (None is passed through). Returns (image, [others...]).
    """
    tensors = {name: t for name, t in others.items() if t is not None}
    for name, t in tensors.items():
        check_device(image_name, image, name, t)

    def fits(name, t):
        return t.dtype == image.dtype or (name in half_beside_float32 and image.dtype == torch.float32 and t.dtype in HALF)

    wrong = [name for name, t in tensors.items() if not fits(name, t)]
    if wrong:
        castable = torch.is_autocast_enabled(image.device.type) and all(
            t.dtype != torch.float64 for t in (image, *tensors.values()))
        if not castable:
            raise TypeError(f"{wrong[0]}: expected dtype {image.dtype} like {image_name}, got {tensors[wrong[0]].dtype}")
        image = image.float()
        tensors = {name: t.float() for name, t in tensors.items()}
    return image, [tensors.get(name) for name in others]
