"""The table of docs/gpu.md: which op has which kernels for GPUs, and why not; nothing is measured.

    python bench/gpu_backends.py             writes the table into docs/gpu.md
    python bench/gpu_backends.py --check     only says whether it is up to date (exit status 1 if not)
    python bench/gpu_backends.py --print     prints it
"""
import argparse
import importlib
import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))

from bench import pages

PAGE = ROOT / "docs" / "gpu.md"
BILINEAR = (("conv_fwd", "conv_adjoint", "conv_bwd_kernel"), ("eff_fwd", "eff_adjoint", "eff_bwd_kernels"),
            ("pixel_filter_fwd", "pixel_filter_adjoint", "pixel_filter_bwd_filters"))
RADIAL = (("disk", "radius"), ("gaussian", "sigma"))        # family: what its maps are of
INTERNAL = "pixel_filter_stencil", "tanh_features"      # ops that are registered where they are used
FORMULAS = "the reference's formula, differentiated by torch"


def gradients():
    """{op: the ops that make its gradients}, as text."""
    found = {op: [other for other in ops if other != op] for ops in BILINEAR for op in ops}
    for family, number in RADIAL:
        blur, slope, bwd = f"{family}_blur", f"{family}_slope", f"{family}_blur_bwd_{number}"
        found |= {f"{blur}_fwd": [f"{blur}_adjoint", bwd], f"{blur}_adjoint": [f"{blur}_fwd", bwd],
                  bwd: [f"{slope}_fwd", f"{slope}_adjoint"], f"{slope}_fwd": [f"{slope}_adjoint"], f"{slope}_adjoint": [f"{slope}_fwd"]}
    found["tanh_features_fwd"] = ["tanh_features_bwd"]
    found |= {name: [] for name in ("pixel_filter_stencil", "pixel_filter_stencil_apply")}
    found["pixel_filter_gram"] = ["pixel_filter_gram", "pixel_filter_gram_bwd_filters"]
    for name in ("kernel_quotient", "image_quotient", "eff_image_quotient", "eff_kernel_quotient"):
        found[f"{name}_fwd"] = [f"{name}_bwd"]
    return {op: ", ".join(f"`{other}`" for other in others) or "none" for op, others in found.items()}


def served(backend, stem, op):
    """Whether the backend has a kernel for the op, on whatever machine."""
    from svconv.backends import stem_module

    return hasattr(stem_module(backend, stem), op)


def rows():
    """[op, its gradients, triton, cuda] with numbers for reasons, and the reasons. ValueError: a cell has neither kernel nor reason."""
    from svconv.backends.cuda.unserved import UNSERVED
    from svconv.ops._library import STEMS

    for name in INTERNAL:
        importlib.import_module(f"svconv.ops.{name}")
    reasons, found, of = {}, [], gradients()
    stems = list(dict.fromkeys(stem for _, stem in sorted(STEMS.items())))
    for op, stem in sorted(STEMS.items(), key=lambda pair: (stems.index(pair[1]), pair[0])):
        cells = []
        for backend in ("triton", "cuda"):
            if served(backend, stem, op):
                cells.append("yes")
            elif backend == "cuda" and op in UNSERVED:
                cells.append(f"no [{reasons.setdefault(UNSERVED[op], len(reasons) + 1)}]")
            else:
                raise ValueError(f"{op}: no {backend} kernel, and no reason for it in svconv/backends/cuda/unserved.py")
        found.append([f"`{op}`", of.get(op, FORMULAS), *cells])
    return found, reasons


def section():
    found, reasons = rows()
    lines = ["Written by `python bench/gpu_backends.py`.", "", "| op | its gradients | Triton | CUDA C++ |", "| --- | --- | --- | --- |",
             *("| " + " | ".join(cells) + " |" for cells in found), ""]
    lines += [pages.paragraph(f"[{number}] {text}.") + "\n" for text, number in reasons.items()]
    return "\n".join(lines).rstrip()


def main():
    parser = argparse.ArgumentParser(prog="python bench/gpu_backends.py", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 if the page is out of date")
    parser.add_argument("--print", action="store_true", help="write the table to the terminal only")
    options = parser.parse_args()
    if importlib.util.find_spec("triton") is None:
        sys.exit("bench/gpu_backends.py: needs Triton installed, to see which kernels it has")
    if options.print:
        print(section())
        return
    old = PAGE.read_text()
    new = pages.replaced(old, "backends", section())
    if options.check:
        if old != new:
            sys.exit(f"{PAGE.name} is out of date: run python bench/gpu_backends.py")
        return
    pages.write(PAGE, new)


if __name__ == "__main__":
    main()
