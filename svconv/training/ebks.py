"""Training of `models.BlurKernelSpace`: the code of a pair has to bring the blurry crop back from the sharp one."""
import torch

from svconv.files import FileError
from svconv.models import BlurKernelSpace
from svconv.models.blur_kernel_space.widened import variational_state
from svconv.models.pretrained import read_weights
from svconv.nn import CharbonnierLoss
from svconv.training.ebks_settings import EBKSSettings
from svconv.training.metrics import psnr
from svconv.training.pair_task import PairTask, means

EPS = 1e-6
TYPICAL = 0.001     # of what the mean code of a batch counts in the typical one


class EBKSTask(PairTask):
    """The encoded blur kernel space: codes of blur, from sharp photographs or pairs"""

    kind, settings_class = "ebks", EBKSSettings
    structure = ("variant", "variational", "width")
    measured_by = (*PairTask.measured_by, "variational")

    def __init__(self, photographs, settings, device):
        s = settings
        self.charbonnier = CharbonnierLoss(EPS, reduction="sum")
        super().__init__(photographs, s, device, BlurKernelSpace(s.variant, s.variational, s.width))

    def code_channels(self):
        return self.model.channels

    def loss(self, blurry, sharp, kind):
        """The Charbonnier distance, summed over all pixels, of F(x, G(x, y)) from y, and for a variational space the divergence."""
        with self.casting():
            found, apart = self._coded(sharp, blurry)
            made = self.model.blur(sharp, found)
        self.model.typical.lerp_(found.detach().float().mean((0, 2, 3)), max(TYPICAL, 1 / (self.average.steps + 1)))
        loss = self.charbonnier(made.float(), blurry)
        error = float(loss.detach()) / blurry.numel()
        loss = (loss + self.settings.divergence * apart) / blurry.numel()
        if self.hint:
            loss = loss + self.hinted(found, blurry, sharp)
        return loss, error

    def _coded(self, sharp, blurry):
        """(a code, the divergence of its distribution from N(0, 1)): drawn where the space is variational, else 0 apart."""
        if not self.settings.variational:
            return self.model.encode(sharp, blurry), 0
        mean, deviation = self.model.distribution(sharp, blurry)
        return mean + deviation * torch.randn_like(mean), divergence(mean, deviation)

    def validate(self, model):
        """Mean PSNR to the blurry crop of F with the pair's own code, by kind of blur too, and with the mean of all codes."""
        codes = [model.encode(sharp, blurry) for blurry, sharp, _ in self.validated()]
        middle = torch.cat(codes).mean(0, keepdim=True)
        own, common = [], []
        for (blurry, sharp, _), code in zip(self.validated(), codes):
            own.append(psnr(model.blur(sharp, code), blurry))
            common.append(psnr(model.blur(sharp, middle), blurry))
        spread = torch.cat(codes).std(0).mean() if len(codes) > 1 else torch.zeros(())
        return {**self.by_kind(own, "psnr"), "psnr_mean_code": means(common), "code_spread": round(float(spread), 5)}

    def score(self, result):
        return round(-result["psnr"], 4)

    def baselines(self):
        """PSNR of the sharp crops to the blurry ones."""
        return self.by_kind([psnr(sharp, blurry) for blurry, sharp, _ in self.validated()], "psnr_sharp")

    def start_from(self, path):
        """As every model does; a variational space takes the weights of a plain one too, as the mean of its codes."""
        arguments, state = read_weights(path, type(self.model).__name__)
        if self.settings.variational and arguments == {**self.model.arguments, "variational": False}:
            try:
                self.model.load_state_dict(variational_state(state, self.model.state_dict()))
            except (KeyError, RuntimeError) as error:
                raise FileError(f"{path}: weights that do not fit BlurKernelSpace({self.model.extra_repr()})") from error
            return
        super().start_from(path)


def divergence(mean, deviation):
    """sum(mu^2 + s^2 - log(1e-8 + s^2) - 1): twice that of N(mu, s^2) from N(0, 1)."""
    mean, square = mean.float(), deviation.float().square()
    return (mean.square() + square - torch.log(1e-8 + square) - 1).sum()
