"""The search of one image and one code that explain a photograph, step by step."""
import contextlib
import dataclasses

import torch
from torch.nn import functional

from svconv.files.archives import write_archive
from svconv.models.blur_kernel_space.model import MULTIPLE
from svconv.models.deep_prior.variables import Latent, code_variable, image_variable
from svconv.models.images import continued
from svconv.nn import CharbonnierLoss, FeatureDistance, HyperLaplacianLoss, SSIMLoss
from svconv.solvers.result import Result

DROP, DROPS = 0.7, 5        # the learning rate is multiplied by the one at every so-manieth of the steps
ROUNDS, IMAGE_SHARE = 25, 0.6       # alternating: rounds, and what part of each goes to the image
FALL, LAST = 0.9, 1e-3      # of a latent's rate: where its long rise and fall ends, and its last value


@dataclasses.dataclass(repr=False)
class DeepPriorResult(Result):
    """What `deep_prior_deblur` returns, and what its callback sees.

    Attributes:
        x: the image [B, 3|1, H, W] with the least loss of the last part of the search so far.
        code: the code [B, C, h, w] that belongs to it.
        losses: float32 [B, steps], NaN for steps that are still to come.
        done: whether all steps were made.
    """

    code: torch.Tensor
    losses: torch.Tensor
    done: bool = True
    state: dict | None = dataclasses.field(default=None, repr=False)

    @property
    def loss(self):
        """The last loss as a number; NaN before the first step."""
        made = self.losses[torch.isfinite(self.losses)]
        return float(made[-1]) if len(made) else float("nan")

    def save(self, path):
        """Write what `resume=` goes on from."""
        write_archive(path, self.state)

    def __repr__(self):
        shapes = ", ".join(f"{name}={list(getattr(self, name).shape)}" for name in ("x", "code", "losses"))
        return f"{type(self).__name__}({shapes}, done={self.done})"


class Search:
    """The state of the search for one photograph y [1, 3, H, W].

    `total` steps: those of the warm-up, image then code, and `steps` of the search itself.
    """

    def __init__(self, y, space, options, start, generator):
        self.options, self.space, self.y = options, space, y
        self.generator = torch.Generator(y.device).manual_seed(int(torch.randint(2**62, (), generator=generator)))
        whole = continued(y, MULTIPLE)
        self.image = image_variable(options.image_prior, whole, options.latent, self.generator)
        self.code = code_variable(options.image_prior, space, start, self.generator)
        self.whole, self.start = whole, start
        self.rates = [v.rate if given is None else given for v, given in zip((self.image, self.code), options.rates)]
        self.warm = (options.warmup * self.image.warms_up, options.warmup * self.code.warms_up)
        self.total, self.position = sum(self.warm) + options.steps, 0
        self.losses = torch.full((options.steps,), torch.nan, device=y.device)
        self.best = torch.full((), torch.inf, device=y.device)
        self.best_x, self.best_code, self.part = y.clone(), start.clone(), -1
        self.features = options.features        # what they make of y stays the same
        if isinstance(self.features, FeatureDistance):
            maps = [t.detach() for t in self.features.features(y)]
            self.features = lambda x, _: options.features(x, maps)
        self.charbonnier, self.similarity, self.prior = CharbonnierLoss(1e-6), SSIMLoss("same"), HyperLaplacianLoss()
        self._fresh_optimisers()

    def _fresh_optimisers(self):
        self.optimisers = [torch.optim.Adam(v.parameters(), lr=v.rate) for v in (self.image, self.code)]

    def step(self):
        """One step of the warm-up or of the search."""
        first, second = self.warm
        if self.position < first + second:
            which = self.position >= first
            self._warm(which)
            if self.position == first + second - 1:
                self._fresh_optimisers()
        else:
            self._search(self.position - first - second)
        self.position += 1

    def _casting(self):
        if self.options.precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self.y.device.type, torch.bfloat16)

    def _warm(self, which):
        variable, optimiser = (self.image, self.code)[which], self.optimisers[which]
        with self._casting():
            made = variable(self.generator)
        loss = (made.float() - (self.whole, self.start)[which]).square().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        variable.after_step()

    def _search(self, step):
        turn = self._turn(step)
        self._set_rates(step)
        with torch.set_grad_enabled(turn != "code"), self._casting():
            image = self.image(self.generator)
        with torch.set_grad_enabled(turn != "image"), self._casting():
            code = self.code(self.generator)
        if image.shape != self.whole.shape:
            raise ValueError(f"image_prior: expected a generator of images {list(self.whole.shape)}, got {list(image.shape)}")
        image, code = image.to(self.y.dtype), code.to(self.y.dtype)
        loss = self._loss(image, code, step)
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self._remember(image.detach(), code.detach(), loss.detach(), step)
        for name, variable, optimiser in zip(("image", "code"), (self.image, self.code), self.optimisers):
            if turn in (name, "both"):
                optimiser.step()
                variable.after_step()

    def _turn(self, step):
        """What a step changes: "image", "code" or "both"."""
        if self.options.mode == "joint":
            return "both"
        return "image" if self._round_share(step) < IMAGE_SHARE else "code"

    def _round_share(self, step):
        """What share of its round is over."""
        length = max(self.options.steps / min(self.options.rounds, self.options.steps), 1)
        return step / length % 1

    def _set_rates(self, step):
        drop = DROP ** (step * DROPS // self.options.steps)
        for variable, rate, optimiser in zip((self.image, self.code), self.rates, self.optimisers):
            factor = drop
            if isinstance(variable, Latent):
                over = self._round_share(step) / IMAGE_SHARE if self.options.mode == "alternating" else step / self.options.steps
                factor = one_cycle(min(over, 1.0))
            for group in optimiser.param_groups:
                group["lr"] = rate * factor

    def _loss(self, image, code, step):
        weights = self._weights(step)
        height, width = self.y.shape[-2:]
        with self._casting():
            made = self.space.blurred(image, code)
        made, image = made.to(self.y.dtype)[..., :height, :width], image[..., :height, :width]
        terms = []
        if weights.features:
            terms.append(weights.features * self.features(made, self.y))
        if weights.similarity:
            terms.append(weights.similarity * self.similarity(made, self.y))
        if weights.charbonnier:
            terms.append(weights.charbonnier * self.charbonnier(made, self.y))
        if weights.squares:
            terms.append(weights.squares * functional.mse_loss(made, self.y))
        if weights.code:
            terms.append(weights.code * torch.linalg.vector_norm(code))
        if weights.prior:
            terms.append(weights.prior * self.prior(image))
        if weights.geodesic and isinstance(self.image, Latent):
            terms.append(weights.geodesic * self.image.geodesic())
        return sum(terms)

    def _weights(self, step):
        parts = self.options.weights
        return next((part for part in parts if step < part.until * self.options.steps), parts[-1])

    @torch.no_grad()
    def _remember(self, image, code, loss, step):
        """Keeps the best image of a part, without a look at the number: nothing waits for a GPU."""
        part = self.options.weights.index(self._weights(step))
        if part != self.part:
            self.part, self.best = part, torch.full_like(self.best, torch.inf)
        self.losses[step] = loss
        better = loss < self.best
        self.best = torch.where(better, loss.to(self.best), self.best)
        self.best_x = torch.where(better, image[..., :self.y.shape[-2], :self.y.shape[-1]], self.best_x)
        self.best_code = torch.where(better, code, self.best_code)

    def state(self):
        """Everything that the next step depends on."""
        return {"position": self.position, "image": self.image.state_dict(), "code": self.code.state_dict(),
                "optimisers": [optimiser.state_dict() for optimiser in self.optimisers], "generator": self.generator.get_state(),
                "losses": self.losses, "best": self.best, "best_x": self.best_x, "best_code": self.best_code, "part": self.part}

    def load_state(self, state):
        """Go on from a `state`."""
        self.image.load_state_dict(state["image"])
        self.code.load_state_dict(state["code"])
        self._fresh_optimisers()
        for optimiser, stored in zip(self.optimisers, state["optimisers"]):
            optimiser.load_state_dict(stored)
        self.generator.set_state(state["generator"])
        self.position, self.part = state["position"], state["part"]
        for name in ("losses", "best", "best_x", "best_code"):
            setattr(self, name, state[name].to(self.y.device))


def one_cycle(share):
    """The factor of a latent's learning rate: from 0.1 up to 1 and back along two lines, then down to 0.001."""
    if share < FALL:
        return 0.1 + 0.9 * (1 - abs(2 * share / FALL - 1))
    return 0.1 + (share - FALL) / (1 - FALL) * (LAST - 0.1)
