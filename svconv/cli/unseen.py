"""Pixels that cannot be seen, filled so that what looks at their surroundings is not misled."""


def filled(y, seen):
    """y [1, 1, H, W] with the pixels outside of `seen` [H, W] replaced by averages of the nearest seen ones, coarse to fine."""
    import torch
    from torch.nn import functional

    seen = torch.as_tensor(seen)[None, None]
    levels = [(torch.where(seen, y, 0), seen.float())]
    while min(levels[-1][1].shape[-2:]) > 1 and not bool(levels[-1][1].all()):
        sums, counts = (functional.avg_pool2d(t, 2, ceil_mode=True) for t in (levels[-1][0] * levels[-1][1], levels[-1][1]))
        levels.append((sums / counts.clamp_min(1e-9), (counts > 0).float()))
    total, count = (levels[-1][0] * levels[-1][1]).sum(), levels[-1][1].sum().clamp_min(1)
    coarse = torch.where(levels[-1][1] > 0, levels[-1][0], total / count)
    for values, known in reversed(levels[:-1]):
        wide = functional.interpolate(coarse, size=values.shape[-2:], mode="bilinear", align_corners=False)
        coarse = torch.where(known > 0, values, wide)
    return coarse
