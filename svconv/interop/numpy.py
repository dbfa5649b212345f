"""svconv on arrays: of NumPy, of CuPy, and of every library that speaks DLPack. Arrays in, arrays of the same library out, no tensor.

Every function here is the one of svconv of the same name with one argument more, `axes=`, which says what the images are:

    "HW"      [H, W], grey (the default)
    "HWC"     [H, W, C], colours last
    "BCHW"    [B, C, H, W], as svconv has them; then everything else is as the function of svconv says, too

With "HW" and "HWC" the other arrays have no batch: kernel [kh, kw], kernels [R, kh, kw], radius, mask and background [H, W], each with
"HWC" also [..., C], one for each colour; filters [kh, kw, H, W], or M for every pixel, [M, kh, kw, H, W] (with "HWC" also
[M, kh, kw, H, W, C]), where images become [M, H, W] or [M, H, W, C]. Results follow: images have the axes of images, a kernel is [kh, kw].

Everything is computed in the precision and on the device of the image: float16, float32 and float64 stay, integers and bool become float64,
of any byte order; other arrays and operators are brought to it. What is returned inside of results is arrays as well. Errors are those of
the function of svconv, and a TypeError for what is not real numbers or has a mask. No gradients.

`Conv`, `PixelFilter`, `EFFBlur` and `DiskBlur` make operators of svconv out of arrays, for the solvers and for `apply` and `apply_adjoint`;
they may be added, multiplied and transposed.

>>> import numpy as np
>>> from svconv.interop import numpy as svconv_numpy
>>> sky, psf = np.zeros((32, 40), np.float32), np.outer([1, 2, 1], [1, 2, 1]) / 16
>>> sky[12, 20] = 1000
>>> seen = svconv_numpy.conv(sky, psf, padding="zeros") + 10
>>> blur = svconv_numpy.Conv(psf, padding="zeros")
>>> found = svconv_numpy.richardson_lucy(blur, seen, max_iter=100, background=10.0, negative="clip")
>>> type(found.x).__name__, found.x.shape, found.x.dtype, bool(found.x[12, 20] > 900)
('ndarray', (32, 40), dtype('float32'), True)
"""
import dataclasses
import inspect
import numbers
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from svconv import operators, ops, solvers

IMAGES = ("x", "y", "b", "x0")
# how many axes one has, without a batch and colours
PARAMETERS = {"kernel": 2, "radius": 2, "mask": 2, "background": 2, "kernels": 3, "filters": 4}
OPERATORS = ("op", "A")
CALLABLES = ("A", "preconditioner", "callback")
GRADIENTS = ("params", "implicit")                                      # arguments that arrays have no use for
AXES = {"HW": "[H, W]", "HWC": "[H, W, C]", "BCHW": "[B, C, H, W]"}


def _on_arrays(function: Callable[..., Any], example: str, result: str = "image") -> Callable[..., Any]:
    """The function on arrays; result: what a tensor that it returns is, "image" or "kernel"."""
    inner = inspect.signature(function)
    inner = inner.replace(parameters=[p for p in inner.parameters.values() if p.name not in GRADIENTS])
    main = next((name for name in inner.parameters if name in IMAGES), next(iter(inner.parameters)))
    axes_of_images = inspect.Parameter("axes", inspect.Parameter.KEYWORD_ONLY, default="HW")

    def on_arrays(*args, axes="HW", **options):
        if axes not in AXES:
            raise ValueError(f"axes: expected one of {', '.join(AXES)}, got {axes!r}")
        given = inner.bind(*args, **options)
        call = _Call(axes, main, given.arguments[main])
        call.convert(given.arguments)
        with torch.no_grad():
            return call.returned(function(*given.args, **given.kwargs), result)

    name = function.__name__.strip("_")
    on_arrays.__name__ = on_arrays.__qualname__ = name
    on_arrays.__signature__ = inner.replace(parameters=[*inner.parameters.values(), axes_of_images])  # type: ignore[attr-defined]
    on_arrays.__doc__ = f"`{_place(function)}` on arrays; `axes` and shapes as in this module.\n\n{inspect.cleandoc(example)}\n"
    return on_arrays


def _place(function):
    if function.__name__.startswith("_"):
        return {"_apply": "op(x)", "_apply_adjoint": "op.adjoint(y)"}[function.__name__]
    package = ".".join(function.__module__.split(".")[:2])
    return f"svconv.solvers.{function.__name__}" if package == "svconv.solvers" else f"svconv.{function.__name__}"


class _Call:
    """One call: the axes of its images, and the library, the precision and the device of its main one."""

    def __init__(self, axes, main, array):
        self.axes, self.main = axes, main
        self.library = _library(main, array)
        self.like = _tensor(main, array)
        self.maps = {}                      # of which images there are M, by name

    def convert(self, arguments):
        """Everything in place; images last, when it is known whether there are M of them."""
        for name in sorted(arguments, key=lambda name: name in IMAGES):
            if arguments[name] is not None:
                arguments[name] = self.converted(name, arguments[name])

    def converted(self, name, value):
        if name in IMAGES:
            return self.image(name, value)
        if name in OPERATORS and isinstance(value, operators.Operator):
            return self.operator(value)
        if name in CALLABLES and callable(value):
            return self.callback(value) if name == "callback" else self.map(name, value)
        if name in PARAMETERS and not isinstance(value, numbers.Number):
            return self.parameter(name, value)
        return self.tensor(name, value) if hasattr(value, "__dlpack__") else value

    def tensor(self, name, value):
        return self.like if name == self.main else _tensor(name, value).to(self.like)

    def image(self, name, value):
        """[B, C, (M,) H, W]."""
        t = self.tensor(name, value)
        if self.axes == "BCHW":
            return t
        many = self.maps.get(name, False)
        if t.dim() != len(self.axes) + many:
            text = AXES[self.axes].replace("[", "[M, ") if many else AXES[self.axes]
            raise ValueError(f"{name}: expected {text} with axes={self.axes!r}, got {list(t.shape)}")
        return t[None, None] if self.axes == "HW" else t.movedim(-1, 0)[None]

    def parameter(self, name, value):
        """[B|1, C|1, ...]; one map of filters [B|1, kh, kw, H, W]."""
        t, alike = self.tensor(name, value), self.axes == "BCHW"
        core = PARAMETERS[name]
        if name == "filters":
            many = t.dim() in ((7,) if alike else (5, 6))
            self.maps["y"] = many
            if not (alike or many) and t.dim() == core:
                return t[None]
            core += 1
        if alike:
            return t
        if t.dim() == core + 1 and self.axes == "HWC":
            return t.movedim(-1, 0)[None]
        if t.dim() != core:
            raise ValueError(f"{name}: expected {_parameter_text(name, self.axes)} with axes={self.axes!r}, got {list(t.shape)}")
        return t[None, None]

    def operator(self, op):
        self.maps = {"x": op.maps[0] is not None, "y": op.maps[1] is not None, "b": op.maps[0] is not None, "x0": op.maps[0] is not None}
        same = op.misfit(self.like.dtype) is None and op.device in (None, self.like.device)
        return op if same else op.to(self.like.device, self.like.dtype)

    def callback(self, function):
        return lambda step, steps, x: function(step, steps, self.array(x))

    def map(self, name, function):
        return lambda x: self.image(name, function(self.array(x)))

    def array(self, t, kind="image"):
        """An array of the library, in the axes of the images for an image."""
        if kind == "kernel" and self.axes != "BCHW":
            t = t[0]
        elif kind == "image" and self.axes != "BCHW":
            t = t[0, 0] if self.axes == "HW" else t[0].movedim(0, -1).contiguous()
        return t.cpu().numpy() if self.library is np else self.library.from_dlpack(t.detach())

    def returned(self, value, kind):
        """With arrays for tensors, also inside of results and tuples."""
        if isinstance(value, torch.Tensor):
            return self.array(value, kind)
        if isinstance(value, tuple):
            return tuple(self.returned(part, "numbers") for part in value)
        if not isinstance(value, solvers.result.Result):
            return value
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return dataclasses.replace(value, **{name: self.returned(part, "image" if name == "x" else "numbers")
                                             for name, part in fields.items()})


def _parameter_text(name, axes):
    text = {"kernel": "[kh, kw]", "kernels": "[R, kh, kw]", "filters": "[kh, kw, H, W] or [M, kh, kw, H, W]"}.get(name, "[H, W]")
    return text if axes == "HW" else f"{text} or {text.split(' or ')[-1][:-1]}, C]"


def _library(name, a):
    """The module that makes arrays like a."""
    if isinstance(a, np.ndarray) or not hasattr(a, "__dlpack__"):
        return np
    said = getattr(a, "__array_namespace__", None)
    for module in (said() if said else None, sys.modules.get(type(a).__module__.split(".")[0])):
        if hasattr(module, "from_dlpack"):
            return module
    raise TypeError(f"{name}: expected an array of a library that has from_dlpack, got {type(a).__module__}.{type(a).__name__}")


def _tensor(name, a):
    """A floating tensor, with the array's memory where that is possible."""
    if hasattr(a, "__dlpack__") and not isinstance(a, np.ndarray):
        t = a.detach() if isinstance(a, torch.Tensor) else torch.from_dlpack(a)
        if t.is_complex():
            raise TypeError(f"{name}: expected real numbers, got {t.dtype}")
        return t if t.is_floating_point() else t.double()
    if isinstance(a, np.ma.MaskedArray):
        raise TypeError(f"{name}: expected an array without a mask of its own (solvers have mask=), got a MaskedArray")
    a = np.asarray(a)
    if a.dtype.kind not in "biuf":
        raise TypeError(f"{name}: expected real numbers, got {a.dtype}")
    a = a.astype(a.dtype.newbyteorder("=") if a.dtype.kind == "f" and a.itemsize <= 8 else np.float64, copy=False)
    fits = a.flags.writeable and all(step >= 0 and step % a.itemsize == 0 for step in a.strides)
    return torch.from_numpy(a if fits else a.copy())


# ops ----------------------------------------------------------------------------------------------------------------

pixel_filter = _on_arrays(ops.pixel_filter, """
    >>> import numpy as np
    >>> pixel_filter(np.arange(6.0).reshape(2, 3), np.full((1, 3, 2, 3), 1 / 3), padding="replicate").round(2)
    array([[0.33, 1.  , 1.67],
           [3.33, 4.  , 4.67]])
    """)
pixel_filter_adjoint = _on_arrays(ops.pixel_filter_adjoint, """
    >>> import numpy as np
    >>> pixel_filter_adjoint(np.ones((4, 5, 6)), np.ones((4, 3, 3, 5, 6))).shape        # four filters for every pixel
    (5, 6)
    """)
conv = _on_arrays(ops.conv, """
    >>> import numpy as np
    >>> conv(np.ones((5, 6, 3), np.uint8), np.ones((2, 2)), padding="valid", axes="HWC").shape
    (4, 5, 3)
    """)
conv_adjoint = _on_arrays(ops.conv_adjoint, """
    >>> import numpy as np
    >>> conv_adjoint(np.eye(3), [[0, 0, 2]]).round(9) + 0.0
    array([[0., 0., 2.],
           [2., 0., 0.],
           [0., 2., 0.]])
    """)
kernel_quotient = _on_arrays(ops.kernel_quotient, """
    >>> import numpy as np
    >>> x, psf = np.random.default_rng(0).random((32, 32)), np.outer([1, 2, 1], [1, 2, 1]) / 16
    >>> bool(abs(kernel_quotient(x, conv(x, psf), 3, beta=1e-9, taper=None) - psf).max() < 1e-6)
    True
    """, result="kernel")
image_quotient = _on_arrays(ops.image_quotient, """
    >>> import numpy as np
    >>> x, psf = np.random.default_rng(0).random((32, 32)), np.array([[0.1, 0.8, 0.1]])
    >>> bool(abs(image_quotient(conv(x, psf), psf, beta=1e-9) - x).max() < 1e-6)
    True
    """)
eff_conv = _on_arrays(ops.eff_conv, """
    >>> import numpy as np, svconv
    >>> grid, psfs = svconv.EFFGrid((40, 50), (2, 3)), np.full((6, 3, 3), 1 / 9)
    >>> eff_conv(np.ones((40, 50)), psfs, grid, padding="replicate").mean().round(6).item()
    1.0
    """)
eff_conv_adjoint = _on_arrays(ops.eff_conv_adjoint, """
    >>> import numpy as np, svconv
    >>> grid, psfs = svconv.EFFGrid((40, 50), (2, 3)), np.full((6, 3, 3), 1 / 9)
    >>> eff_conv_adjoint(np.ones((40, 50, 3)), psfs, grid, axes="HWC").shape
    (40, 50, 3)
    """)
eff_image_quotient = _on_arrays(ops.eff_image_quotient, """
    >>> import numpy as np, svconv
    >>> grid, psfs = svconv.EFFGrid((40, 50), (2, 3)), np.full((6, 3, 3), 1 / 9)
    >>> eff_image_quotient(np.ones((40, 50)), psfs, grid, beta=0.01).mean().round(6).item()
    1.0
    """)
disk_blur = _on_arrays(ops.disk_blur, """
    >>> import numpy as np
    >>> disk_blur(np.ones((8, 9)), np.full((8, 9), 2.5)).round(6).min()
    np.float64(1.0)
    """)
disk_blur_adjoint = _on_arrays(ops.disk_blur_adjoint, """
    >>> import numpy as np
    >>> disk_blur_adjoint(np.ones((8, 9)), np.full((8, 9), 2.5)).sum().round(6).item()
    72.0
    """)

# operators ----------------------------------------------------------------------------------------------------------

Conv = _on_arrays(operators.Conv, """
    >>> import numpy as np
    >>> Conv(np.ones((3, 3)), padding="zeros")
    Conv([1, 1, 3, 3], padding='zeros', float64)
    """)
PixelFilter = _on_arrays(operators.PixelFilter, """
    >>> import numpy as np
    >>> PixelFilter(np.ones((4, 3, 3, 8, 9), np.float32))
    PixelFilter([1, 1, 4, 3, 3, 8, 9], padding='zeros', float32)
    """)
EFFBlur = _on_arrays(operators.EFFBlur, """
    >>> import numpy as np, svconv
    >>> EFFBlur(np.ones((6, 3, 3)), svconv.EFFGrid((40, 50), (2, 3))).shape
    (2000, 2000)
    """)
DiskBlur = _on_arrays(operators.DiskBlur, """
    >>> import numpy as np
    >>> DiskBlur(np.ones((8, 9))).shape
    (72, 72)
    """)


def _checked(op):
    if not isinstance(op, operators.Operator):
        raise TypeError(f"op: expected an operator such as Conv or PixelFilter of this module, got {type(op).__name__}")
    return op


def _apply(op: Any, x: Any) -> Any:
    _checked(op)._check_input("x", x, op.maps[0])
    return op(x)


def _apply_adjoint(op: Any, y: Any) -> Any:
    _checked(op)._check_input("y", y, op.maps[1])
    return op.adjoint(y)


apply = _on_arrays(_apply, """
    >>> import numpy as np
    >>> apply(2 * Conv(np.ones((3, 3)) / 9), np.ones((8, 9))).mean().round(6).item()
    2.0
    """)
apply_adjoint = _on_arrays(_apply_adjoint, """
    >>> import numpy as np
    >>> apply_adjoint(PixelFilter(np.ones((4, 3, 3, 8, 9))), np.ones((4, 8, 9))).shape
    (8, 9)
    """)

# solvers ------------------------------------------------------------------------------------------------------------

wiener = _on_arrays(solvers.wiener, """
    >>> import numpy as np
    >>> x, psf = np.random.default_rng(0).random((16, 16)), np.array([[0.1, 0.8, 0.1]])
    >>> bool(abs(wiener(Conv(psf), conv(x, psf), beta=1e-9).x - x).max() < 1e-4)
    True
    """)
richardson_lucy = _on_arrays(solvers.richardson_lucy, """
    >>> import numpy as np
    >>> richardson_lucy(Conv(np.ones((3, 3)) / 9), np.ones((16, 16)), max_iter=5).x.mean().round(6).item()
    1.0
    """)
irls = _on_arrays(solvers.irls, """
    >>> import numpy as np
    >>> mask = np.ones((16, 16), bool)
    >>> mask[3, 4] = False
    >>> irls(Conv(np.ones((3, 3)) / 9), np.ones((16, 16, 3)), mask=mask, axes="HWC").x.shape
    (16, 16, 3)
    """)
hyper_laplacian = _on_arrays(solvers.hyper_laplacian, """
    >>> import numpy as np
    >>> hyper_laplacian(np.ones((16, 16)), np.ones((3, 3)) / 9, padding="circular").x.mean().round(6).item()
    1.0
    """)
cg = _on_arrays(solvers.cg, """
    >>> import numpy as np
    >>> cg(lambda x: 4 * x, np.ones((8, 9))).x.mean().round(6).item()
    0.25
    """)
