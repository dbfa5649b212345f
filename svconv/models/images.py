"""Images as the networks take them: colour or grey, finite, large enough, continued to sizes that are multiples."""
import torch
from torch.nn import functional

from svconv._shapes import Dims


def check_image(name, image, own, least):
    """Raises unless it is an image [B, 3|1, H, W] with sides of at least `least`, finite, in the dtype and on the device of `own`."""
    Dims().check(name, image, "B C H W")
    if image.shape[1] not in (1, 3):
        raise ValueError(f"{name}: expected 3 or 1 channels, got {image.shape[1]}")
    if min(image.shape[-2:]) < least:
        raise ValueError(f"{name}: expected sides of at least {least} pixels, got {image.shape[-2]} x {image.shape[-1]}")
    check_weights(name, image, own)
    check_finite(name, image)


def check_weights(name, t, own):
    """Raises unless the dtype and the device are those of `own`, a weight of a model."""
    if t.dtype != own.dtype:
        raise TypeError(f"{name}: expected {own.dtype} like the weights of the model, got {t.dtype}")
    if t.device != own.device:
        raise TypeError(f"{name}: expected device {own.device} like the weights of the model, got {t.device}")


def check_finite(name, t):
    """Raises if there are NaN or infinite values."""
    if torch.compiler.is_compiling() or t.device.type == "meta" or not t.numel():
        return
    if not bool(torch.isfinite(t.sum())) and not bool(torch.isfinite(t).all()):
        raise ValueError(f"{name}: holds NaN or infinite values")


def coloured(image):
    """[B, 3, H, W]: a grey image in three equal channels."""
    return image if image.shape[1] == 3 else image.expand(-1, 3, -1, -1)


def continued(image, multiple):
    """[B, C, H, W] whose sides are multiples, by replication at the far ends."""
    height, width = image.shape[-2:]
    # in a program for any size the sides have to read as so many times the multiple, and no size may be told from another
    padding = (0, (width + multiple - 1) // multiple * multiple - width, 0, (height + multiple - 1) // multiple * multiple - height)
    return functional.pad(image, padding, mode="replicate") if torch.compiler.is_exporting() or any(padding) else image


def cropped(image, size):
    """The first rows and columns: [..., *size]."""
    if torch.compiler.is_exporting():       # a view would have other strides where a side is a multiple, which makes other programs
        return functional.pad(image, (0, size[1] - image.shape[-1], 0, size[0] - image.shape[-2]))
    return image[..., :size[0], :size[1]]


def like(made, image):
    """What was made of an image, [B, 3, H', W'], at its size, and grey where it is: the mean of the channels."""
    made = cropped(made, image.shape[-2:])
    return made if image.shape[1] == 3 else made.mean(1, keepdim=True)
