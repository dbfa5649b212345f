"""The quotient family on the CPU makes its transforms itself: a small one needs no team of threads (with busy cores a team of two waits for
a whole time slice of the system), and a channel's result does not depend on how many there are."""
import pytest
import torch

import svconv
from svconv.backends import why_not

pytestmark = pytest.mark.skipif(bool(why_not("cpu", "quotient", "conv_fwd", "cpu")), reason="svconv._C is not built")


def transforms_of_torch(function):
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        function()
    return [event.key for event in profile.key_averages() if "fft" in event.key]


@pytest.mark.parametrize("side", [1, 17, 64, 256])
@pytest.mark.parametrize("padding", ["circular", "zeros", "reflect"])
def test_convolutions_and_quotients_call_no_transform_of_torch(side, padding):
    generator = torch.Generator().manual_seed(side)
    x = torch.rand(1, 2, side, side, generator=generator, requires_grad=True)
    kernel = torch.rand(1, 1, *(2 * [min(side, 5)]), generator=generator, requires_grad=True)

    def everything():
        y = svconv.conv(x, kernel, padding=padding, backend="cpu")
        y = y + svconv.conv_adjoint(x, kernel, padding=padding, backend="cpu")
        y = y + svconv.image_quotient(x, kernel, beta=1e-2, padding=padding, backend="cpu")
        estimate = svconv.kernel_quotient(x, y, min(side, 5), backend="cpu")
        (y.sum() + estimate.square().sum()).backward()

    assert transforms_of_torch(everything) == []


def test_a_channel_does_not_depend_on_the_others():
    x = torch.rand(1, 3, 128, 256, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    kernel = torch.rand(1, 1, 9, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    whole = svconv.conv(x, kernel, backend="cpu")
    assert torch.equal(whole, torch.cat([svconv.conv(part, kernel, backend="cpu") for part in x.split(1, 1)], 1))
