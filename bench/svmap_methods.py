"""The methods that bench/svmap_quality.py compares, and the networks under the names that the paper gives them."""
import hashlib
import pathlib

import torch

from svconv import Conv, solvers
from svconv.models import SIMAP, SVMAP
from svconv.models.svmap import load

LEVIN = 1, 2, 3, 50         # re-weightings
STRENGTHS = {"hyper": (500, 1000, 2000, 4000, 8000), "levin": (0.00025, 0.0005, 0.001, 0.002, 0.004, 0.008)}     # lam, reg
# where there is more than 1 % noise
NOISY = {"hyper": (60, 120, 250, 500, 1000, 2000), "levin": (0.002, 0.004, 0.008, 0.016, 0.032, 0.064)}
CG_ITER = 60                # most steps of a solve of Levin
ROWS = ("SIMAP (3, 5)", "SVMAP_share", "SVMAP, T = 1", "SVMAP, T = 2", "SVMAP, T = 3", "l2 data term, learned prior")


def label(model):
    """The row of a network."""
    said = model.arguments
    if isinstance(model, SIMAP):
        return f"SIMAP ({said['data_filters']}, {said['prior_filters']})"
    if not said["data_filters"]:
        return "l2 data term, learned prior"
    steps = said["iterations"]
    return ("SVMAP_share" if steps == 2 else f"SVMAP_share, T = {steps}") if said["share"] and steps > 1 else f"SVMAP, T = {steps}"


def loaded(text):
    """(model, training steps or None) of NAME|FILE or NAME|FILE@STEPS."""
    name, _, steps = text.rpartition("@") if text.rpartition("@")[2].isdigit() else (text, "", "")
    if not pathlib.Path(name).is_file():
        kind = SIMAP if name.startswith(SIMAP.weights_prefix) else SVMAP
        return kind.from_pretrained(name), int(steps) if steps else None
    return load(name), int(steps) if steps else None


def mark(model):
    """Eight digits that tell weights apart."""
    digest = hashlib.sha256(repr(sorted(model.arguments.items())).encode())
    for name, t in model.state_dict().items():
        digest.update(name.encode() + t.contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()[:8]


def first(scene, model):
    """x^0 of the models."""
    return model.first(scene.blurred, scene.kernel)


def hyper(scene, lam):
    return solvers.hyper_laplacian(scene.blurred, scene.kernel, lam=lam).x


def levin(scene, reg, reweightings):
    return solvers.irls(Conv(scene.kernel), scene.blurred, reg=reg, reweightings=reweightings, cg_iter=CG_ITER).x


def by_network(scene, model):
    with torch.no_grad():
        return model(scene.blurred, scene.kernel)
