"""What people write today instead of gaussian_blur, in the gather form with zeros around the image."""
import torch


def shift_loop(x, sigma, truncate=4.0):
    """One pass over the image for each offset of the largest window; the weights of each pixel by the formula."""
    (h, w), half = x.shape[-2:], torch.floor(truncate * sigma + 0.5)
    reach = int(half.max())
    extended = torch.nn.functional.pad(x, (reach,) * 4)
    factors = [torch.where(abs(t) <= half, torch.exp(-0.5 * (t / sigma) ** 2), 0.0) for t in range(-reach, reach + 1)]
    total = sum(factors)
    factors = [factor / total for factor in factors]
    y = torch.zeros_like(x)
    for i, row in enumerate(factors):
        for j, column in enumerate(factors):
            y.addcmul_(row * column, extended[..., i:i + h, j:j + w])
    return y
