"""Do the compiled kernels and the reference agree, forward and in all gradients? For a machine that the tests do not run on.

    python bench/backends_agree.py        prints the largest difference of every op, relative to the largest value; 1 if one is too large
"""
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))  # last: an installed svconv goes before the checkout

import svconv

SIZE = (40, 44)
TOLERANCE = {torch.float64: 1e-10, torch.float32: 5e-4, torch.float16: 2e-2, torch.bfloat16: 5e-2}


def filters(dtype):
    """{name: (function, its tensors)} of pixel_filter; half types are squared and summed in float32."""
    x, f = torch.rand(2, 3, 33, 41).to(dtype), torch.rand(2, 1, 2, 5, 4, 33, 41).to(dtype)
    return {f"pixel_filter, {padding}": (lambda x, f, padding=padding: svconv.pixel_filter(x, f, padding=padding), (x, f))
            for padding in ("zeros", "reflect", "circular")}


def others(dtype):
    """{name: (function, its tensors)} of the other families."""
    x, radius = torch.rand(2, 3, *SIZE, dtype=dtype), 0.3 + 3 * torch.rand(2, 1, *SIZE, dtype=dtype)
    grid, kernels = svconv.EFFGrid(SIZE, (2, 3)), torch.rand(2, 6, 5, 7, dtype=dtype)
    sharp, blurry, kernel = (torch.rand(2, n, *SIZE, dtype=dtype) for n in (2, 2, 1))
    kernel = kernel[:, 0, :5, :5] / kernel[:, 0, :5, :5].sum((1, 2), keepdim=True)
    return {"disk_blur, gather": (lambda x, r: svconv.disk_blur(x, r), (x, radius)),
            "disk_blur, scatter": (lambda x, r: svconv.disk_blur(x, r, form="scatter"), (x, radius)),
            "gaussian_blur": (svconv.gaussian_blur, (x, radius)), "eff_conv": (lambda x, k: svconv.eff_conv(x, k, grid), (x, kernels)),
            "kernel_quotient": (lambda a, b: svconv.kernel_quotient(a, b, 9, beta=0.1), (sharp, blurry)),
            "image_quotient": (lambda y, k: svconv.image_quotient(y, k, beta=0.05), (x, kernel))}


def values(function, tensors, backend):
    """The result and the gradients of its sum of squares, float64."""
    tensors = [t.clone().requires_grad_() for t in tensors]
    with svconv.use_backend(backend):
        out = function(*tensors)
        out = out.float() if out.dtype in (torch.float16, torch.bfloat16) else out
        return [out.detach().double(), *(g.double() for g in torch.autograd.grad(out.square().sum(), tensors))]


def difference(function, tensors):
    pairs = zip(values(function, tensors, "cpu"), values(function, tensors, "reference"))
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)


def main():
    torch.manual_seed(0)
    wrong = 0
    for dtype, tolerance in TOLERANCE.items():
        for name, call in (filters(dtype) | (others(dtype) if dtype.itemsize >= 4 else {})).items():
            off = difference(*call)
            wrong += not off <= tolerance
            print(f"{str(dtype).removeprefix('torch.'):9} {name:24} {off:.1e}{'' if off <= tolerance else '   WRONG'}", flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
