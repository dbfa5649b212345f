"""What is searched for, an image and a code: made by untrained networks, by a generator, or free."""
import torch
from torch import nn

from svconv.models.deep_prior.code_prior import CodePrior
from svconv.models.deep_prior.image_prior import NOISE, ImagePrior

NOISE_SCALE, SHAKEN = 0.1, 0.001        # of the networks' input: uniform in 0..0.1; standard deviation of what every step adds to it
NETWORK, PIXELS, LATENT = 5e-4, 5e-3, 0.2       # learning rates


class Network(nn.Module):
    """An untrained network and its noise, which every step shakes a little."""

    rate, warms_up = NETWORK, True

    def __init__(self, net, noise_shape, like, generator):
        super().__init__()
        self.net = net.to(like)
        self.register_buffer("noise", NOISE_SCALE * torch.rand(noise_shape, generator=generator, dtype=like.dtype, device=like.device))

    def forward(self, generator):
        shaken = torch.randn(self.noise.shape, generator=generator, dtype=self.noise.dtype, device=self.noise.device)
        return self.net(self.noise + SHAKEN * shaken)

    def after_step(self):
        """What has to hold of the parameters behind a step of the optimiser."""


class Free(nn.Module):
    """The thing itself."""

    warms_up = False

    def __init__(self, start, rate):
        super().__init__()
        self.value, self.rate = nn.Parameter(start.clone()), rate

    def forward(self, generator):
        return self.value

    def after_step(self):
        """Nothing: the value is free."""


class Latent(nn.Module):
    """A generator with its weights fixed, and its latent on the sphere of its first norm."""

    rate, warms_up = LATENT, False

    def __init__(self, net, start):
        super().__init__()
        object.__setattr__(self, "net", net)        # no part of what is searched for, nor of its state
        self.value = nn.Parameter(start.clone())
        self.register_buffer("radius", start.flatten(1).norm(dim=1).clamp_min(1e-12))

    def forward(self, generator):
        return self.net(self.value)

    @torch.no_grad()
    def after_step(self):
        """Back to the sphere."""
        norm = self.value.flatten(1).norm(dim=1).clamp_min(1e-12)
        self.value.mul_((self.radius / norm).view(-1, *[1] * (self.value.dim() - 1)))

    def geodesic(self):
        """64 times the mean square of the angle between each two of its vectors [B, n, d]; 0 for a latent of another form."""
        if self.value.dim() != 3:
            return self.value.new_zeros(())
        a, b = self.value[:, :, None], self.value[:, None]
        angle = 2 * torch.atan2(((a - b).square().sum(-1) + 1e-12).sqrt(), ((a + b).square().sum(-1) + 1e-12).sqrt())
        return 64 * angle.square().mean()


def image_variable(prior, y, latent, generator):
    """The variable of the image for `image_prior` of `deep_prior_deblur`; y [1, 3, H, W]."""
    if prior == "network":
        return Network(_built(ImagePrior, generator), (1, NOISE, *y.shape[-2:]), y, generator)
    if prior == "pixels":
        return Free(y, PIXELS)
    return Latent(prior, latent)


def code_variable(prior, space, start, generator):
    """The variable of the code, which begins at `start` [1, C, h, w]."""
    if prior == "pixels":
        return Free(start, PIXELS)
    width = space.arguments["width"]
    return Network(_built(lambda: CodePrior(width), generator), (1, width, 32 * start.shape[2], 32 * start.shape[3]), start, generator)


def _built(make, generator):
    """A network whose first weights depend on the generator alone."""
    seed = int(torch.randint(2**31, (), generator=generator, device=generator.device))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make().to(memory_format=torch.channels_last)
