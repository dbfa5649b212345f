"""The methods that bench/defocus_quality.py compares: restored images of a scene, with what the maps of one scene share made once."""
import math

import torch

from svconv import DiskBlur, disk_kernel, solvers
from svconv.models.svbr_net import restore_tiled
from svconv.solvers.layered import _made_levels, _Weights

STRENGTHS = {"layered": (1000, 3000, 9000), "irls": (0.00025, 0.0005, 0.001, 0.002)}     # lam, reg
DEFAULT = {"layered": 3000, "irls": 0.0005}
SHORT = dict(reweightings=2, cg_iter=60)


class Restorer:
    """Restored images of one scene (anything with `blurry` [1, C, H, W])."""

    def __init__(self, scene, networks):
        self.scene, self.networks, self.layers = scene, networks, {}

    def restored(self, method, radius, strength=None):
        if method in self.networks:
            return self._network(self.networks[method], radius)
        return {"layered": self._layered, "irls": self._irls}[method](radius, strength)

    def _layered(self, radius, lam):
        """`solvers.layered`, but a level that another map has needed is not restored again."""
        y, weights = self.scene.blurry, _Weights(radius.double(), levels := _made_levels(radius.double()), True)
        x = y * weights.sharp().to(y.dtype)
        for i, level in enumerate(levels):
            if weights.any(i):
                x = x + weights.of(i).to(y.dtype) * self._layer(level, lam)
        return x

    def _layer(self, level, lam):
        if (level, lam) not in self.layers:
            kernel = disk_kernel(torch.tensor(level, dtype=torch.float64), 2 * math.ceil(level - 0.5) + 1)[None].to(self.scene.blurry.dtype)
            self.layers[level, lam] = solvers.hyper_laplacian(self.scene.blurry, kernel, lam=lam).x
        return self.layers[level, lam]

    def _irls(self, radius, reg):
        return solvers.irls(DiskBlur(radius), self.scene.blurry, reg=reg, **SHORT).x

    def _network(self, network, radius):
        y = self.scene.blurry
        return restore_tiled(network, y.expand(-1, 3, -1, -1), radius)[:, :y.shape[1]] if y.shape[1] == 1 else \
            restore_tiled(network, y, radius)
