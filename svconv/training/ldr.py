"""Training of `models.DegradationDeblur`: first to put the blur that the encoder saw on the sharp image, then to take it away."""
import torch

from svconv.models import DegradationDeblur
from svconv.models.degradation_deblur import Discriminators
from svconv.nn import FeatureDistance, FeatureMatchingLoss, HingeLoss, PSNRLoss, VGG19Features
from svconv.training.ldr_settings import LDRSettings
from svconv.training.metrics import psnr
from svconv.training.pair_task import PairTask
from svconv.training.task import make_optimiser


class LDRTask(PairTask):
    """Learned degradation representations: a map of the blur that drives reblurring and deblurring, from sharp photographs or pairs"""

    kind, settings_class = "ldr", LDRSettings
    structure = ("version", "width", "sn", "code")
    bound_arguments = ("sn", "code")

    def __init__(self, photographs, settings, device):
        s = settings
        features = VGG19Features.from_file(s.vgg) if s.vgg else None
        code = None if s.code == "none" else s.code
        super().__init__(photographs, s, device, DegradationDeblur(s.version, s.width, s.sn, code, reblur=s.version == 1))
        self.discriminators = self.place(Discriminators(s.width)) if s.gan else None
        self.perceptual = None if features is None else self.place(FeatureDistance(features, FeatureDistance.REBLURRING))
        self.hinge, self.matching, self.psnr_loss = HingeLoss(), FeatureMatchingLoss(), PSNRLoss()
        self.phase, self.judged = "joint", 0.0

    def prepare(self, phase):
        self.phase, model = phase.name, self.model
        model.train().requires_grad_(phase.name == "joint")
        model.deblurring.requires_grad_(phase.name == "deblur" or self.settings.deblurring)
        if phase.name == "deblur":      # frozen: their power iteration stands still too
            model.reblurring.eval()
            if model.encoder is not None:
                model.encoder.eval(), model.upsampler.eval()

    def begin(self, phase):
        super().begin(phase)
        if self.discriminators is not None:
            self.processes.align(self.discriminators)
            self.judge = make_optimiser(self.settings, list(self.discriminators.parameters()), self.betas)

    def code_channels(self):
        return 1 if self.model.encoder is None else self.model.map_shape[0]

    def loss(self, blurry, sharp, kind):
        return (self._joint if self.phase == "joint" else self._deblurring)(blurry, sharp)

    def _coded(self, blurry):
        """(map, pyramid), None twice without an encoder."""
        if self.model.encoder is None:
            return None, None
        map = self.model.degradation(blurry)
        return map, self.model.pyramid(map)

    def _joint(self, blurry, sharp):
        s = self.settings
        with self.casting():
            map, pyramid = self._coded(blurry)
            made = self.model.reblurring(sharp, pyramid)[-1].float()
            image = self.model.deblurring(blurry, pyramid)[-1].float() if s.deblurring else None
        error = (made - blurry).abs().mean()
        loss = s.reblurred * error
        if self.hint and map is not None:
            loss = loss + self.hinted(map, blurry)
        if image is not None:
            loss = loss + s.deblurred * (image - sharp).abs().mean()
        if self.perceptual is not None:
            loss = loss + s.perceptual * self.perceptual(made, blurry)
        if self.discriminators is not None:
            self.made = made.detach(), sharp, blurry
            loss = loss + self._adversarial(made, sharp, blurry)
        return loss, float(error.detach())

    def _adversarial(self, made, sharp, blurry):
        self.discriminators.requires_grad_(False)
        with self.casting():
            fake, real = self._both(made, sharp, blurry)
        self.discriminators.requires_grad_(True)
        return (self.settings.adversarial * self.hinge.generator([maps[-1] for maps in fake])
                + self.settings.matching * self.matching([maps[:-1] for maps in fake], [maps[:-1] for maps in real]))

    def _both(self, made, sharp, blurry):
        """The discriminators' maps of what was made and of the photographs, in one batch: ([scale][layer], the same)."""
        maps = self.discriminators(torch.cat([sharp, sharp]), torch.cat([made, blurry]))
        halves = [[t.float().chunk(2) for t in scale] for scale in maps]
        return tuple([[pair[part] for pair in scale] for scale in halves] for part in (0, 1))

    def step(self, tensors, rate):
        error = super().step(tensors, rate)
        if self.phase == "joint" and self.discriminators is not None:
            self._judge(rate)
        return error

    def _judge(self, rate):
        """A step of the discriminators, on what the generator had made before its own."""
        with self.casting():
            fake, real = self._both(*self.made)
        loss = self.hinge.discriminator([maps[-1] for maps in real], [maps[-1] for maps in fake])
        for group in self.judge.param_groups:
            group["lr"] = rate
        self.judge.zero_grad(set_to_none=True)
        loss.backward()
        parameters = list(self.discriminators.parameters())
        self.processes.average([p.grad for p in parameters])
        if self.usable(parameters):
            self.judge.step()
        self.processes.average(self.discriminators.buffers())
        self.judged += 0.02 * (float(loss.detach()) - self.judged)

    def _deblurring(self, blurry, sharp):
        model, s = self.model, self.settings
        with self.casting():
            with torch.no_grad():
                _, pyramid = self._coded(blurry)
            images = [t.float() for t in model.deblurring(blurry, pyramid)]
        loss = 0.5 * sum(self.psnr_loss(image, sharp) for image in images)
        if s.features and model.encoder is not None:
            with self.casting():
                with torch.no_grad():
                    wanted = model.encoder.features(sharp)
                found = model.encoder.features(images[-1])
            loss = loss + s.features * sum((a.float() - b.float()).abs().mean() for a, b in zip(found, wanted))
        return loss, float((images[-1].detach() - sharp).abs().mean())

    def usable(self, parameters):
        """Whether the gradients are finite; their norm is limited."""
        norm = torch.nn.utils.clip_grad_norm_([p for p in parameters if p.grad is not None], self.settings.clip)
        return bool(torch.isfinite(norm))

    def validate(self, model):
        """Mean absolute error and PSNR of the reblurred crop, the error with the map of another crop, PSNR of the deblurred crop."""
        errors, strange, made, images, other = [], [], [], [], None
        for blurry, sharp, _ in self.validated():
            map = None if model.encoder is None else model.degradation(blurry)
            again = model.reblur(sharp, map)
            if other is not None:
                strange.append((model.reblur(sharp, other).clamp(0, 1) - blurry).abs().mean((1, 2, 3)))
            other = map
            errors.append((again.clamp(0, 1) - blurry).abs().mean((1, 2, 3)))
            made.append(psnr(again, blurry))
            images.append(psnr(model(blurry, map).image, sharp))
        more = {"error_other_map": round(float(torch.cat(strange).mean()), 6)} if strange else {}
        return {"error_reblurred": round(float(torch.cat(errors).mean()), 6), **more, **self.by_kind(made, "psnr_reblurred"),
                **self.by_kind(images, "psnr")}

    def score(self, result):
        return result["error_reblurred"] if self.phase == "joint" else round(-result["psnr"], 4)

    def baselines(self):
        """PSNR between the blurry and the sharp crops."""
        return self.by_kind([psnr(blurry, sharp) for blurry, sharp, _ in self.validated()], "psnr_blurred")

    def notes(self):
        return {"part": self.phase, **({"judged": round(self.judged, 4)} if self.discriminators is not None else {})}

    def best_file(self):
        return f"best-{self.phase}.pt"

    def state(self):
        more = {} if self.discriminators is None else {"discriminators": self.discriminators.state_dict(), "judge": self.judge.state_dict()}
        return {**super().state(), **more, "judged": self.judged}

    def load_state(self, state, former, phase):
        super().load_state(state, former, phase)
        if self.discriminators is not None and former.gan:
            self.discriminators.load_state_dict(state["discriminators"])
            if former.optimiser == self.settings.optimiser:
                self.judge.load_state_dict(state["judge"])
            self.judged = state["judged"]
