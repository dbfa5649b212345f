"""Checks of arguments: a shape is written once, in the words of the docstring, and every error names argument, expectation and what
came."""

import collections
import functools
import math
import numbers

import numpy as np
import torch
from torch.autograd import forward_ad
from torch.utils._python_dispatch import _get_current_dispatch_mode

HALF = (torch.float16, torch.bfloat16)
DTYPES = (torch.float32, torch.float64, *HALF)
MAY_BE_EMPTY = frozenset((*"BCMnNLO", "WB", "WC"))    # letters whose size may be 0; all others are sides and at least 1
MEANINGS = {"B": "a batch of 1 or that", "C": "channels of 1 or those"}


Word = collections.namedtuple("Word", "letter shared fixed")      # fixed: the size that a number stands for


@functools.cache
def _words(layout):
    return tuple(Word(text.rstrip("?"), text.endswith("?"), int(text) if text.isdigit() else None) for text in layout.split())


def shape_text(shape):
    """A shape, or that of a tensor, as errors print it."""
    return "[" + ", ".join(str(int(n)) for n in getattr(shape, "shape", shape)) + "]"


def layout_text(layout):
    """The words of a layout as an error prints them: "B? kh kw" -> "[B|1, kh, kw]"."""
    return "[" + ", ".join(word[:-1] + "|1" if word.endswith("?") else word for word in layout.split()) + "]"


def check_tensor(name, t, dtypes=DTYPES):
    """A floating tensor of one of `dtypes`."""
    if not isinstance(t, torch.Tensor):
        raise TypeError(f"{name}: expected a torch.Tensor, got {type(t).__name__}")
    if t.dtype not in dtypes:
        texts = [
            str(dtype).removeprefix("torch.") for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16) if dtype in dtypes
        ]
        raise TypeError(f"{name}: expected dtype {', '.join(texts[:-1])} or {texts[-1]}, got {t.dtype}")


class Dims:
    """The letters of one call: each is bound to a size where it first stands, and every later tensor must agree.

    A layout is a text of words: a letter such as `H` or `kh`; `B?` for 1 or B; a number for itself; `...` in front for any leading axes.

    >>> import torch
    >>> dims = Dims()
    >>> dims.check("x", torch.zeros(2, 3, 8, 9), "B C H W")
    >>> dims.check("kernel", torch.zeros(1, 5, 5), "B? C? kh kw", "B? kh kw")
    >>> dims["kh"], dims["W"]
    (5, 9)
    >>> dims.check("map", torch.zeros(1, 1, 8, 7), "B? C? H W")
    Traceback (most recent call last):
    ValueError: map: expected W of x = 9 at axis -1, got [1, 1, 8, 7]
    """

    def __init__(self):
        self._sizes, self._owners = {}, {}

    def __getitem__(self, letter):
        return self._sizes[letter]

    def bind(self, owner, **sizes):
        """Binds letters to sizes that are known before the tensors that have them are checked."""
        self._bind(owner, sizes.items())

    def check(self, name, t, *layouts, noun="", beside="", dtypes=DTYPES):
        """Raises unless `t` is a floating tensor in one of the layouts; binds the letters that are new. noun, beside: words about the
        layout in errors."""
        check_tensor(name, t, dtypes)
        shape = t.shape
        for layout in layouts:
            words = _words(layout)
            if words[0].letter == "...":
                return self._check_trailing(name, t, layout, [word.letter for word in words[1:]])
            if len(words) == len(shape):
                return self._match(name, shape, words)
        raise ValueError(f"{name}: expected {noun}{' or '.join(map(layout_text, layouts))}{beside}, got {shape_text(t)}")

    def _check_trailing(self, name, t, layout, words):
        sizes = t.shape[t.dim() - len(words):] if t.dim() >= len(words) else (0,)
        if any(n == 0 for n in sizes):
            raise ValueError(f"{name}: expected {layout_text(layout)} with {', '.join(words)} >= 1, got {shape_text(t)}")
        self._bind(name, zip(words, sizes))

    def _match(self, name, shape, words):
        bound, new = self._sizes, {}
        for (letter, shared, fixed), size in zip(words, shape):
            known = bound.get(letter, fixed)
            if known is None:
                known = new.get(letter)
            if known is None:
                if not shared:
                    new[letter] = size
            elif size != known and not (shared and size == 1):
                raise ValueError(self._mismatch(name, shape, words, letter, known))
        for letter, size in new.items():
            if letter not in MAY_BE_EMPTY and size == 0:
                sides = [letter for letter in new if letter not in MAY_BE_EMPTY]
                raise ValueError(f"{name}: expected {' and '.join(f'{letter} >= 1' for letter in sides)}, got {shape_text(shape)}")
        if new:
            self._bind(name, new.items())

    def _mismatch(self, name, shape, words, letter, known):
        axis = [word.letter == letter and n != known and not (word.shared and n == 1) for word, n in zip(words, shape)].index(True)
        place = axis - len(words) if letter in ("H", "W") else axis
        return f"{name}: expected {self._meaning(letter + '?' * words[axis].shared, known)} at axis {place}, got {shape_text(shape)}"

    def _meaning(self, word, known):
        letter = word.rstrip("?")
        owner = self._owners.get(letter)
        of = f" of {owner}" if owner else ""
        if letter.isdigit():
            return f"{known}"
        if letter == word:
            return f"{letter}{of} = {int(known)}"
        allowed = " or ".join(dict.fromkeys(("1", str(int(known)))))
        return f"{MEANINGS.get(letter, f'{letter} of 1 or that')}{of}, = {allowed}"

    def _bind(self, name, sizes):
        for letter, size in sizes:
            self._sizes[letter], self._owners[letter] = size, name


def computed(t):
    """The tensor in the dtype that it is computed in where half types are computed in float32."""
    return t.float() if t.dtype in HALF else t


def check_image(name, x):
    """A floating tensor [B, C, H, W] with H, W >= 1."""
    Dims().check(name, x, "B C H W")


def check_like(name, t, like_name, like):
    """`t` must have the shape of `like`."""
    if t.shape != like.shape:
        raise ValueError(f"{name}: expected the shape of {like_name} {shape_text(like)}, got {shape_text(t)}")


def check_device(first_name, first, name, t):
    if t.device != first.device:
        raise TypeError(f"{name}: expected device {first.device} like {first_name}, got {t.device}")


def image_pair(x, y):
    """x and y, images [B, C, H, W] of one shape, dtype and device, in the dtype that they are computed in."""
    check_image("x", x)
    check_image("y", y)
    check_like("y", y, "x", x)
    check_device("x", x, "y", y)
    if x.dtype != y.dtype:
        raise TypeError(f"y: expected {x.dtype} like x, got {y.dtype}")
    return computed(x), computed(y)


def sum_to(t, shape):
    """Sums the first two axes where they are 1 in `shape`."""
    axes = [axis for axis, (n, wanted) in enumerate(zip(t.shape[:2], shape)) if n != wanted]
    return t.sum(axes, keepdim=True) if axes else t


def scalar(value):
    """The Python number in a NumPy scalar (np.uint8 would wrap around where it is negated), or in an array or tensor of no dimension;
    everything else as it is."""
    holds_one = isinstance(value, np.generic) or isinstance(value, (np.ndarray, torch.Tensor)) and value.ndim == 0
    return value.item() if holds_one else value


def number(name, value, *, above=None, least=None, below=None, most=None, integer=False):
    """`value` as a float, or an int; NumPy scalars, arrays and tensors of no dimension count as numbers.

    Args:
        above, least, below, most: bounds, > >= < <=. integer: only whole numbers.

    Raises:
        TypeError: not a number. ValueError: out of bounds, infinite, NaN, or not whole where an integer is expected.

    >>> number("beta", 2, above=0)
    2.0
    >>> number("steps", 0, least=1, integer=True)
    Traceback (most recent call last):
    ValueError: steps: expected an integer >= 1, got 0
    """
    plain = type(value) is int or type(value) is float      # what almost all callers give
    value = value if plain else scalar(value)
    if not plain and (isinstance(value, bool) or not isinstance(value, (numbers.Real, torch.SymInt, torch.SymFloat))):
        raise TypeError(f"{name}: expected {_expected(above, least, below, most, integer)}, got {value!r}")
    whole = not integer or isinstance(value, (int, numbers.Integral, torch.SymInt))
    inside = ((above is None or value > above) and (least is None or value >= least) and (below is None or value < below)
              and (most is None or value <= most) and -math.inf < value < math.inf)
    if not (whole and inside):
        raise ValueError(f"{name}: expected {_expected(above, least, below, most, integer)}, got {value!r}")
    return int(value) if integer else float(value)


def _expected(above, least, below, most, integer):
    return ("an integer" if integer else "a number") + _interval(above, least, below, most)


def _interval(above, least, below, most):
    low, high = above if least is None else least, below if most is None else most
    if low is not None and high is not None:
        return f" in {'(' if least is None else '['}{low:g}, {high:g}{')' if most is None else ']'}"
    for sign, bound in ((">", above), (">=", least), ("<", below), ("<=", most)):
        if bound is not None:
            return f" {sign} {bound:g}"
    return ""


def pair(name, value, *, least=None, integer=False):
    """A number or a pair (rows, columns) of them as a pair."""
    value = value if type(value) is int else scalar(value)
    values = (value, value) if isinstance(value, (int, numbers.Number, torch.SymInt, torch.SymFloat)) else value
    if isinstance(values, (torch.Tensor, str)) or not hasattr(values, "__len__") or len(values) != 2:
        raise ValueError(f"{name}: expected a number or a pair (rows, columns), got {value!r}")
    try:
        found = tuple(number(name, v, integer=integer) for v in values)
    except TypeError:
        raise TypeError(f"{name}: expected {'integers' if integer else 'numbers'}, got {value!r}") from None
    except ValueError:
        if integer:
            raise TypeError(f"{name}: expected integers, got {value!r}") from None
        raise ValueError(f"{name}: expected finite numbers, got {value!r}") from None
    if least is not None and min(found) < least:
        raise ValueError(f"{name}: expected sides >= {least}, got {found}")
    return found


def readable(t):
    """Whether the host may look at the values of t without waiting for a device and without breaking a trace or a transform."""
    return (type(t) in (torch.Tensor, torch.nn.Parameter) and t.device.type == "cpu" and not torch.compiler.is_compiling()
            and not torch._C._are_functorch_transforms_active() and _get_current_dispatch_mode() is None)


def watched(*tensors):
    """Whether something looks through what is done to the tensors: autograd, a trace, a transform, a dual level, a mode; or no host may."""
    recording = torch.is_grad_enabled()
    return forward_ad._current_level >= 0 or any(not readable(t) or recording and t.requires_grad for t in tensors)


def unify(image_name, image, others, half_beside_float32=()):
    """Brings the tensors of one call to the dtypes an op accepts.

    All share the image's dtype; the names in `half_beside_float32` may be bfloat16/float16 beside a float32 image.
    Under autocast anything else that mixes float32 and half types is cast to float32; otherwise it is a TypeError.
    `others` maps names to tensors (None is passed through). Returns (image, [others...]).
    """
    dtype, device = image.dtype, image.device
    for t in others.values():
        if t is not None and (t.dtype != dtype or t.device != device):
            break
    else:
        return image, [*others.values()]
    tensors = {name: t for name, t in others.items() if t is not None}
    for name, t in tensors.items():
        check_device(image_name, image, name, t)

    def fits(name, t):
        return t.dtype == image.dtype or (name in half_beside_float32 and image.dtype == torch.float32 and t.dtype in HALF)

    wrong = [name for name, t in tensors.items() if not fits(name, t)]
    if wrong:
        castable = torch.is_autocast_enabled(image.device.type) and all(
            t.dtype != torch.float64 for t in (image, *tensors.values()))
        if not castable:
            raise TypeError(f"{wrong[0]}: expected dtype {image.dtype} like {image_name}, got {tensors[wrong[0]].dtype}")
        image = image.float()
        tensors = {name: t.float() for name, t in tensors.items()}
    return image, [tensors.get(name) for name in others]
