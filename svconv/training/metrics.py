"""A log of metrics with one JSON object per line, and the parts of a loop that watch the error."""
import json
import os
import pathlib

import torch

from svconv.files.errors import FileError, reason
from svconv.files.outputs import write_text


def psnr(image, truth):
    """[B]: the PSNR of images in 0..1, of which only what lies in that range counts."""
    error = (image.float().clamp(0, 1) - truth).square().mean((1, 2, 3))
    return -10 * torch.log10(error.clamp_min(1e-12))


class MetricsLog:
    """Appends JSON lines to a file. `rewind(step)` drops what a killed run wrote after the checkpoint from which it goes on."""

    def __init__(self, path):
        self.path = pathlib.Path(path)

    def write(self, **record):
        """Append one record; it is on disk when the call returns. FileError if it cannot be written."""
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise FileError(f"cannot write {self.path}: {reason(error)}") from error

    def read(self):
        """All complete records."""
        if not self.path.is_file():
            return []
        records = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                records.append(json.loads(line))
            except ValueError:
                break  # a line cut off by a kill is the last one
        return records

    def rewind(self, step):
        """Keep only the records up to this step."""
        kept = [r for r in self.read() if r.get("step", 0) <= step]
        write_text(self.path, "".join(json.dumps(r) + "\n" for r in kept))


class OutlierRejection:
    """Leaves out samples whose error exceeds `factor` times the running mean error (Learning to Deblur, training; factor 10).

    The mean runs over accepted samples with weight 1/n for the first samples and 1 - `momentum` per batch later; non-finite errors are
    always left out.
    """

    def __init__(self, factor=10.0, momentum=0.99):
        self.factor, self.momentum, self.mean, self.batches, self.rejected = factor, momentum, 0.0, 0, 0

    def __call__(self, errors):
        """Boolean mask of the samples to learn from, for errors [B]; the running mean takes them in."""
        keep = torch.isfinite(errors)
        if self.batches:
            keep &= errors <= self.factor * self.mean
        self.rejected += int((~keep).sum())
        if keep.any():
            weight = max(1 - self.momentum, 1 / (self.batches + 1))
            self.mean += weight * (float(errors[keep].mean()) - self.mean)
            self.batches += 1
        return keep

    def state_dict(self):
        """What a resumed run needs."""
        return {"mean": self.mean, "batches": self.batches, "rejected": self.rejected}

    def load_state_dict(self, state):
        """Take over a `state_dict`."""
        self.mean, self.batches, self.rejected = state["mean"], state["batches"], state["rejected"]


class AveragedWeights:
    """Exponential average of a model's parameters; early on the plain average, so that the start leaves no trace."""

    def __init__(self, model, decay=0.998):
        self.decay, self.steps = decay, 0
        self.values = {k: v.detach().clone() for k, v in model.named_parameters()}

    @torch.no_grad()
    def update(self, model):
        """Take in the parameters after a step."""
        self.steps += 1
        weight = max(1 - self.decay, 1 / (self.steps + 1))
        for name, value in model.named_parameters():
            self.values[name].lerp_(value, weight)

    @torch.no_grad()
    def copy_to(self, model):
        """Overwrite the parameters of a model of the same shape with the average."""
        for name, value in model.named_parameters():
            value.copy_(self.values[name])

    def state_dict(self):
        """What a resumed run needs."""
        return {"steps": self.steps, "values": dict(self.values)}

    def load_state_dict(self, state):
        """Take over a `state_dict`."""
        self.steps = state["steps"]
        for name, value in self.values.items():
            value.copy_(state["values"][name])  # keeps its device
