"""The losses of networks that are trained against discriminators: hinge and feature matching."""
import torch
from torch import nn

from svconv._shapes import check_device, check_like, check_tensor, computed


class HingeLoss(nn.Module):
    """The hinge losses of a discriminator and of the generator against it.

        discriminator(real, fake) = mean max(1 - real, 0) + mean max(1 + fake, 0)
        generator(fake) = -mean fake

    Shapes:
        real, fake: the scores of a discriminator, a tensor of any shape, or a list with one entry for each of several discriminators, which
        are averaged. An entry that is itself a list, the maps of all layers, counts by its last one. The result is a number; bfloat16 and
        float16 are computed in float32. forward(real, fake) is `discriminator`.

    Raises:
        ValueError, TypeError: naming the argument: no scores, or not as many discriminators.

    Gradients through autograd, 0 at the hinge. The caller detaches `fake` for the discriminator. Lim and Ye 2017.

    >>> import torch, svconv
    >>> loss = svconv.nn.HingeLoss()
    >>> float(loss(torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 0.0]))), float(loss.generator([torch.ones(2), torch.zeros(3)]))
    (0.75, -0.5)
    """

    def forward(self, real, fake):
        return self.discriminator(real, fake)

    def discriminator(self, real, fake):
        """The loss of the discriminators: real images should score above 1, made ones below -1."""
        real, fake = _scores("real", real), _scores("fake", fake)
        if len(real) != len(fake):
            raise ValueError(f"fake: expected the scores of {len(real)} discriminators as in real, got {len(fake)}")
        return sum((1 - r).relu().mean() + (1 + f).relu().mean() for r, f in zip(real, fake)) / len(real)

    def generator(self, fake):
        """The loss of the generator: what it makes should score high."""
        scores = _scores("fake", fake)
        return -sum(score.mean() for score in scores) / len(scores)


class FeatureMatchingLoss(nn.Module):
    """How far the maps that discriminators make of generated images are from those of real ones.

        loss = mean over discriminators d of  sum over maps l of  mean |fake_dl - real_dl|

    Shapes:
        forward(real, fake): lists with an entry for each discriminator, the list of its maps, or one such list. Every map that is given
        counts: leave out the scores at the end if they should not. real is detached. bfloat16 and float16 are computed in float32.

    Raises:
        ValueError, TypeError: naming the map: no maps, numbers or shapes that differ.

    Gradients in fake through autograd. Memory: two of the maps at a time, and what autograd keeps. Wang et al. 2018 (pix2pixHD).

    >>> import torch, svconv
    >>> real, fake = [torch.zeros(1, 2, 4, 4), torch.zeros(1, 4, 2, 2)], [torch.ones(1, 2, 4, 4), torch.full((1, 4, 2, 2), -0.5)]
    >>> float(svconv.nn.FeatureMatchingLoss()(real, fake)), float(svconv.nn.FeatureMatchingLoss()([real, real], [fake, real]))
    (1.5, 0.75)
    """

    def forward(self, real, fake):
        real, fake = _maps("real", real), _maps("fake", fake)
        if [len(maps) for maps in real] != [len(maps) for maps in fake]:
            raise ValueError(f"fake: expected {[len(maps) for maps in real]} maps as in real, got {[len(maps) for maps in fake]}")
        total = 0
        for d, (targets, maps) in enumerate(zip(real, fake)):
            for n, (target, found) in enumerate(zip(targets, maps)):
                check_like(f"fake[{d}][{n}]", found, f"real[{d}][{n}]", target)
                check_device(f"real[{d}][{n}]", target, f"fake[{d}][{n}]", found)
                total = total + (computed(found) - computed(target.detach())).abs().mean()
        return total / len(real)


def _scores(name, scores):
    """[a tensor for each discriminator]"""
    entries = [scores] if isinstance(scores, torch.Tensor) else _list(name, scores)
    last = [entry if isinstance(entry, torch.Tensor) else _list(name, entry)[-1] for entry in entries]
    for entry in last:
        check_tensor(name, entry)
    return [computed(entry) for entry in last]


def _maps(name, maps):
    """[the list of maps of each discriminator]"""
    maps = _list(name, maps)
    nested = [maps] if isinstance(maps[0], torch.Tensor) else [_list(name, entry) for entry in maps]
    for entry in nested:
        for one in entry:
            check_tensor(name, one)
    return nested


def _list(name, values):
    if not isinstance(values, (list, tuple)):
        raise TypeError(f"{name}: expected tensors in a list or a tuple, got {type(values).__name__}")
    if not values:
        raise ValueError(f"{name}: expected at least one tensor, got an empty {type(values).__name__}")
    return list(values)
