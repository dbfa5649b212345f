"""The encoded blur kernel space: a code for any blur, found in a pair of images and put on others."""
import torch
from torch import nn
from torch.nn import functional

from svconv._shapes import number
from svconv.models.blur_kernel_space.applier import Applier
from svconv.models.blur_kernel_space.blocks import Preprocess
from svconv.models.blur_kernel_space.extractor import Extractor
from svconv.models.images import check_image, coloured, continued, like
from svconv.models.pretrained import Pretrained

MULTIPLE = 128      # of which the sides have to be, and their least value
VARIANTS = ("paper", "reference")


class BlurKernelSpace(Pretrained, nn.Module):
    """Two networks that learn what blur is from pairs: `k = G(x, y)` finds the code of the blur, `F(x, k)` puts it on an image.

        trained so that F(x, G(x, y)) = y;  variational: G(x, y) = (mu, s), k = mu + s N(0, 1)

    Args:
        variant: "paper": the layer tables (F and G have a first block each, kernels of 3 pixels, biases), or "reference": the published
            code (one first block for both, kernels of 4 pixels in F, other activations).
        variational: G gives the mean and the deviation of a normal distribution of codes, which `sample` draws from.
        width: channels of the first layers, 64 in the paper.

    Shapes:
        x, y [B, 3, H, W] or grey [B, 1, H, W] (three equal channels inside, grey again), 0..1, sides of at least 128, dtype of the weights.
        encode(x, y) -> code [B, 8 width, H/128, W/128], the mean of a variational space. blur(x, code [B|1, ...]) -> like x.
        transfer(x, y, to) -> the blur of the pair on `to`. sample(n, size) -> codes [n, ...] for images of that size. forward(x, y) =
        blur(x, encode(x, y)). Other sizes are continued by replication to multiples of 128 (their codes are rounded up) and cropped.

    Attributes:
        typical: the mean code of the pairs of the training, [8 width], where a search for a code may begin.

    Raises:
        ValueError, TypeError: naming the argument: a pair that differs, a side below 128, NaN or infinite values, a code that does not
            belong to the size; `sample` and `distribution` of a space that is not variational.

    Parameters at width 64: paper 40,824,195 (G 26,362,944, F 14,461,251, each with its first block of 814,208), reference 49,205,187,
    variational reference 115,265,475. Gradients reach images, code and weights. Memory under `no_grad`: about 2 `width` planes of the
    image's size. Bit-identical from run to run with a fixed number of threads.

    Explore Image Deblurring via Encoded Blur Kernel Space (2021).

    >>> import torch
    >>> space = BlurKernelSpace(width=4).eval()
    >>> x = torch.rand(1, 3, 130, 200)
    >>> with torch.no_grad():
    ...     code = space.encode(x, x)
    ...     code.shape, space.blur(x, code).shape
    (torch.Size([1, 32, 2, 2]), torch.Size([1, 3, 130, 200]))
    """

    weights_prefix, default_weights = "ebks-", "mixed"

    def __init__(self, variant="paper", variational=False, width=64):
        super().__init__()
        if variant not in VARIANTS:
            raise ValueError(f"variant: expected 'paper' or 'reference', got {variant!r}")
        width = number("width", width, least=1, integer=True)
        self.arguments = {"variant": variant, "variational": bool(variational), "width": width}
        self.variational, self.channels = bool(variational), 8 * width
        paper = variant == "paper"
        self.sharp_features = Preprocess(width)
        self.pair_features = Preprocess(width) if paper else None
        self.extractor, self.applier = Extractor(width, paper, self.variational), Applier(width, paper)
        self.register_buffer("typical", torch.zeros(self.channels))
        self.to(memory_format=torch.channels_last)

    def encode(self, x, y):
        """The code [B, 8 width, H/128, W/128] of the blur that makes y of x; of a variational space its mean."""
        return self._found(x, y)[:, :self.channels]

    def distribution(self, x, y):
        """(mu, s) of the codes of the blur that makes y of x, each like a code. s is a deviation of either sign."""
        if not self.variational:
            raise ValueError("variational: expected True for a distribution of codes, this space gives one code")
        return self._found(x, y).chunk(2, 1)

    def _found(self, x, y):
        self._check("x", x)
        self._check("y", y)
        if x.shape != y.shape:
            raise ValueError(f"y: expected the shape of x, {list(x.shape)}, got {list(y.shape)}")
        features = self.sharp_features if self.pair_features is None else self.pair_features
        return self.extractor(features(_inside(x)), features(_inside(y))).to(x.dtype)      # under autocast too

    def blur(self, x, code):
        """x [B, C, H, W] under the blur of a code [B|1, 8 width, ceil(H/128), ceil(W/128)]."""
        self._check("x", x)
        shape = self.code_shape(x.shape[-2:])
        if not isinstance(code, torch.Tensor) or code.shape[1:] != shape or code.shape[0] not in (1, x.shape[0]):
            got = list(code.shape) if isinstance(code, torch.Tensor) else type(code).__name__
            raise ValueError(f"code: expected [{x.shape[0]}|1, {', '.join(map(str, shape))}] for x of {x.shape[-2]} x {x.shape[-1]}, "
                             f"got {got}")
        if code.dtype != x.dtype:
            raise TypeError(f"code: expected {x.dtype} like x, got {code.dtype}")
        return like(self.blurred(_inside(x), code.expand(x.shape[0], *shape)), x)

    def blurred(self, x, code):
        """`blur` without a look at its arguments: x [B, 3, H, W] with sides that are multiples of 128, a code of B."""
        return x + self.applier(self.sharp_features(x), code)

    def transfer(self, x, y, to):
        """`to` under the blur between x and y. Where its size needs another code, that of the pair is resized bilinearly."""
        self._check("to", to)
        code, shape = self.encode(x, y), self.code_shape(to.shape[-2:])
        if code.shape[0] not in (1, to.shape[0]):
            raise ValueError(f"to: expected a batch of {code.shape[0]} like x, or one pair for all, got {to.shape[0]}")
        return self.blur(to, fitted_code(code, shape[1:]))

    def sample(self, n, size, *, scale=1.2, generator=None):
        """n random codes [n, 8 width, ceil(H/128), ceil(W/128)] for images of `size` (H, W) or a side: `scale N(0, 1)`.

        generator: `torch.Generator` on the CPU; the same state gives the same codes. None uses torch's default one.
        """
        if not self.variational:
            raise ValueError("variational: expected True to sample codes, this space was trained without a distribution")
        n, scale = number("n", n, least=0, integer=True), number("scale", scale, least=0)
        sides = size if isinstance(size, (tuple, list)) else (size, size)
        if len(sides) != 2:
            raise ValueError(f"size: expected a side or (height, width), got {size!r}")
        shape = self.code_shape([number("size", side, least=MULTIPLE, integer=True) for side in sides])
        own = next(self.parameters())
        return (scale * torch.randn(n, *shape, generator=generator)).to(own)

    def forward(self, x, y):
        return self.blur(x, self.encode(x, y))

    def code_shape(self, size):
        """(channels, rows, columns) of the code of an image of `size` (H, W)."""
        return (self.channels, *((side + MULTIPLE - 1) // MULTIPLE for side in size))

    def _check(self, name, image):
        check_image(name, image, next(self.parameters()), MULTIPLE)


def fitted_code(code, size):
    """A code resized bilinearly to (rows, columns), which keeps the bits of one of that size; a program for any size cannot tell it."""
    if not torch.compiler.is_exporting() and code.shape[-2:] == tuple(size):
        return code
    return functional.interpolate(code, tuple(size), mode="bilinear", align_corners=False)


def _inside(x):
    """The image as the networks take it."""
    return continued(coloured(x), MULTIPLE)
