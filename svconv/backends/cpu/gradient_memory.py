"""Memory of large gradients that is used again."""
import contextvars
import math
import threading
import weakref

import torch

# the memories of the blocks that this thread or task is in
_entered = contextvars.ContextVar("svconv_gradient_memory", default=())


class GradientMemory:
    """Lets the gradients in per-pixel filters take the memory of earlier ones that nobody holds any more (CPU).

    A gradient in filters is as large as they are, M kh kw planes, and the operating system hands out fresh memory page by page, which can
    take several times as long as the sum itself. Where a training loop computes such gradients again and again and lets go of them, the
    backward passes inside of the `with` block share their memory:

        memory = svconv.GradientMemory()
        for blurry, sharp in pairs:
            with memory:
                loss(network(blurry), sharp).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    Values are bit-identical to those without it. A gradient that is still held (a leaf's `.grad`) keeps its memory and is never written
    over. The object may be entered many times, nested and by many threads; what it keeps is as large as the gradients that lived at one
    time and goes back with `clear()` or with the object. Gradients below 1 MiB and those of other devices come from torch as ever.

    Learning Spatially-Variant MAP Models for Non-blind Image Deblurring (2021) learns such filters.

    >>> import torch, svconv
    >>> x, filters = torch.rand(1, 1, 128, 128), torch.rand(1, 5, 5, 128, 128, requires_grad=True)
    >>> memory = svconv.GradientMemory()
    >>> places = set()
    >>> for _ in range(3):
    ...     with memory:
    ...         svconv.pixel_filter(x, filters).sum().backward()
    ...     places.add(filters.grad.data_ptr())
    ...     filters.grad = None
    >>> len(places)
    1
    """

    LEAST = 1 << 20

    def __init__(self):
        self._free, self._lock = [], threading.Lock()

    def __enter__(self):
        _entered.set((*_entered.get(), self))
        return self

    def __exit__(self, *_):
        _entered.set(_entered.get()[:-1])
        return False

    def clear(self):
        """Gives back what is kept and not in use."""
        self._free.clear()

    def _tensor(self, shape, dtype):
        size = math.prod(shape) * dtype.itemsize
        block = self._block(size)
        values = block.numpy()[:size]       # lives as long as the storage of the tensor made of it
        weakref.finalize(values, self._free.append, block).atexit = False
        return torch.from_numpy(values).view(dtype).view(shape)

    def _block(self, size):
        """The smallest free block that is large enough; where there is none, a new one, and the smaller ones are let go."""
        with self._lock:        # not in what puts a block back, which may run anywhere, also in here: that is one operation on a list
            fitting = [i for i, block in enumerate(self._free) if block.numel() >= size]
            if fitting:
                return self._free.pop(min(fitting, key=lambda i: self._free[i].numel()))
            self._free.clear()
        return torch.empty(size, dtype=torch.uint8)


def new_gradient(shape, dtype):
    """Uninitialised values on the CPU, of the memory that is entered, if any."""
    entered = _entered.get()
    if entered and math.prod(shape) * dtype.itemsize >= GradientMemory.LEAST:
        return entered[-1]._tensor(shape, dtype)
    return torch.empty(shape, dtype=dtype)
