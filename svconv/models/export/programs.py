"""What is exported of each model: modules that take and return plain tensors, with the names of their axes and an example of each input."""
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from svconv.models.blur_kernel_space import BlurKernelSpace
from svconv.models.blur_kernel_space.model import MULTIPLE as CODE_SIDE
from svconv.models.degradation_deblur import DegradationDeblur
from svconv.models.degradation_deblur.model import LEAST as LDR_SIDE
from svconv.models.learning_to_deblur import LearningToDeblur
from svconv.models.svbr_net import SVBRNet
from svconv.models.svbr_net.model import MAX_RADIUS
from svconv.models.svmap import SIMAP, SVMAP
from svconv.ops import conv, project_kernel

IMAGE = ("batch", 3, "height", "width")
CODE = tuple(f"{side}/{CODE_SIDE} rounded up" for side in ("height", "width"))
NOISE = 0.01
PHOTOGRAPH, RESTORED = "the blurred photograph, 0..1", "the restored photograph"


class Port(NamedTuple):
    """An input or an output; an axis is its length, or a name where the length is free."""

    name: str
    axes: tuple
    meaning: str

    def at(self, lengths):
        """The axes with the lengths of the names in {name: length}."""
        return tuple(lengths.get(axis, axis) for axis in self.axes)


class Program(nn.Module):
    """What is exported: a model, and what goes in and out of `forward`.

    Attributes:
        inputs, outputs: `Port`s. least: the least length of a side. any_size: whether a program may be for images of any size.
    """

    inputs: tuple = (Port("image", IMAGE, PHOTOGRAPH),)
    outputs: tuple = (Port("restored", IMAGE, RESTORED),)
    least, any_size = 1, True

    def __init__(self, model):
        super().__init__()
        self.model = model

    def examples(self, lengths, generator):
        """A tensor for every input."""
        return tuple(picture(port.at(lengths), generator) for port in self.inputs)


class RestoreDefocus(Program):
    inputs = (Port("image", IMAGE, PHOTOGRAPH),
              Port("radius", ("batch", 1, "height", "width"), "the radius of the blur disk at each pixel, in pixels, 0 and more"))

    def examples(self, lengths, generator):
        image, radius = super().examples(lengths, generator)
        return image, MAX_RADIUS * radius

    def forward(self, image, radius):
        return self.model(image, radius)


class EstimateKernel(Program):
    inputs = (Port("image", ("batch", 1, "height", "width"), "the luminance of the blurred photograph, 0..1"),)

    def __init__(self, model):
        super().__init__(model)
        size = model.kernel_sizes[-1]
        self.least, self.any_size = 2 * size, len(model.kernel_sizes) == 1 or size % 2 == 1
        self.outputs = (Port("kernel", ("batch", size, size), "the blur kernel, sum 1, centre k // 2"),
                        Port("latent", ("batch", 1, "height", "width"), "the image quotient of the luminance by that kernel"))

    def examples(self, lengths, generator):
        return (blurred(*super().examples(lengths, generator), 9, generator)[0],)

    def forward(self, image):
        found = self.model(image)
        return found.kernel, found.latent


class RestoreWithKernel(Program):
    any_size = False

    def __init__(self, model, kernel_size=31):
        super().__init__(model)
        self.kernel_size = kernel_size
        self.inputs = (*Program.inputs, Port("kernel", (1, 1, kernel_size, kernel_size), "the blur kernel, centre k // 2; a smaller one "
                                             "of odd sides stands in the middle of zeros"))

    def examples(self, lengths, generator):
        return blurred(picture(self.inputs[0].at(lengths), generator), self.kernel_size, generator)

    def forward(self, image, kernel):
        return self.model(image, kernel)


class RestoreWithMap(Program):
    least = LDR_SIDE

    def forward(self, image):
        return self.model(image).x


class TransferBlur(Program):
    least = CODE_SIDE
    inputs = (Port("sharp", ("batch", 3, "pair height", "pair width"), "the sharp photograph of a pair, 0..1"),
              Port("blurred", ("batch", 3, "pair height", "pair width"), "the blurred photograph of the pair"),
              Port("to", IMAGE, "the photograph that is to be blurred, 0..1"))
    outputs = (Port("image", IMAGE, "that photograph under the blur of the pair"),)

    def forward(self, sharp, blurred, to):
        return self.model.transfer(sharp, blurred, to)


class EncodeBlur(Program):
    least = CODE_SIDE
    inputs = (Port("sharp", IMAGE, TransferBlur.inputs[0].meaning), Port("blurred", IMAGE, TransferBlur.inputs[1].meaning))

    def __init__(self, model):
        super().__init__(model)
        self.outputs = (Port("code", ("batch", model.channels, *CODE), "the code of the blur between the two"),)

    def forward(self, sharp, blurred):
        return self.model.encode(sharp, blurred)


class ApplyBlur(Program):
    least = CODE_SIDE
    outputs = (Port("image", IMAGE, "the photograph under that blur"),)

    def __init__(self, model):
        super().__init__(model)
        self.inputs = (Port("image", IMAGE, "the photograph that is to be blurred, 0..1"),
                       Port("code", ("batch", model.channels, *CODE), "the code of a blur"))

    def examples(self, lengths, generator):
        image = picture(self.inputs[0].at(lengths), generator)
        return image, self.model.typical[:, None, None] + 0.1 * torch.randn(self.inputs[1].at(lengths), generator=generator)

    def forward(self, image, code):
        return self.model.blur(image, code)


# of each model what can be exported, the first unless another is asked for
PARTS = {
    SVBRNet: {"restore": RestoreDefocus},
    LearningToDeblur: {"estimate": EstimateKernel},
    SVMAP: {"restore": RestoreWithKernel},
    SIMAP: {"restore": RestoreWithKernel},
    BlurKernelSpace: {"transfer": TransferBlur, "encode": EncodeBlur, "blur": ApplyBlur},
    DegradationDeblur: {"restore": RestoreWithMap},
}


def lengths(size, batch, height, width):
    """{name of an axis: length} for one image of a size, or for images of those sides; the pair of a transfer is then a little larger."""
    rows, columns = (7, 3) if size is None else (0, 0)
    if size is not None:
        (height, width), batch = size, 1
    code = {name: -(-side // CODE_SIDE) for name, side in zip(CODE, (height, width))}
    return {"batch": batch, "height": height, "width": width, "pair height": height + rows, "pair width": width + columns} | code


def picture(shape, generator):
    """A random image like a photograph: light of all scales, the coarse ones strongest, and a little colour."""
    batch, channels, *_ = shape
    light = _clouds((batch, 1, *shape[2:]), generator)
    return (0.5 + light + (0.2 * _clouds(shape, generator) if channels > 1 else 0)).clamp(0, 1)


def _clouds(shape, generator):
    *lead, height, width = shape
    total = torch.zeros(shape)
    for cell in (32, 16, 8, 4, 2):
        rows, columns = height // cell + 2, width // cell + 2
        coarse = torch.rand(*lead, rows, columns, generator=generator) - 0.5
        fine = functional.interpolate(coarse, (rows * cell, columns * cell), mode="bilinear")
        total += cell / 64 * fine[..., :height, :width]
    return total


def blurred(image, size, generator):
    """(the image under a random kernel of that size, with noise; the kernel [1, 1, size, size])."""
    kernel = project_kernel(torch.rand(1, 1, size, size, generator=generator) - 0.7)
    noise = NOISE * torch.randn(image.shape, generator=generator)
    return conv(image, kernel, padding="replicate") + noise, kernel
