"""Which backend the caller forces: the `backend=` argument, else `use_backend`, else SVCONV_BACKEND, which is read where an op runs."""
import contextlib
import contextvars
import functools
import inspect
import os

import torch

NAMES = ("cuda", "triton", "cpu", "reference")
# the names of the blocks that this thread or task is in: nothing is kept in `use_backend` itself, which many may share
_blocks = contextvars.ContextVar("svconv_backend", default=())


def check_name(name):
    """ValueError unless `name` is a backend."""
    if name not in NAMES:
        raise ValueError(f"backend: expected one of {', '.join(NAMES)}, got {name!r}")
    return name


class use_backend(contextlib.ContextDecorator):
    """Forces a backend inside a `with` block (or a decorated function); the `backend=` argument goes before it.

    One object may be used many times, nested and by many threads. A decorated generator function forces the backend while its body runs
    and not between its steps (a `with` block inside of a generator lasts until the block ends), a coroutine function in its task only.

    Args:
        name: "cuda", "triton", "cpu" or "reference".

    Raises:
        ValueError: an unknown name. TypeError: used as a decorator of an asynchronous generator function.

    >>> import torch, svconv
    >>> with svconv.use_backend("reference"):
    ...     y = svconv.pixel_filter(torch.ones(1, 1, 4, 4), torch.ones(1, 3, 3, 4, 4))
    >>> y[0, 0, 0].tolist()
    [4.0, 6.0, 6.0, 4.0]
    """

    def __init__(self, name):
        self.name = check_name(name)

    def __enter__(self):
        _blocks.set((*_blocks.get(), self.name))
        return self

    def __exit__(self, *_):
        _blocks.set(_blocks.get()[:-1])
        return False

    def __call__(self, function):
        if inspect.isasyncgenfunction(function):
            raise TypeError("use_backend: expected a function, a coroutine function or a generator function, "
                            f"got the asynchronous generator function {function.__qualname__}")
        if inspect.isgeneratorfunction(function):
            @functools.wraps(function)
            def generator(*args, **kwargs):
                return (yield from self._steps(function(*args, **kwargs)))
            return generator
        if inspect.iscoroutinefunction(function):
            @functools.wraps(function)
            async def coroutine(*args, **kwargs):
                with self:
                    return await function(*args, **kwargs)
            return coroutine
        return super().__call__(function)

    def _steps(self, generator):
        resume, value = generator.send, None
        while True:
            try:
                with self:
                    item = resume(value)
            except StopIteration as end:
                return end.value
            try:
                resume, value = generator.send, (yield item)
            except GeneratorExit:
                with self:
                    generator.close()
                raise
            except BaseException as error:
                resume, value = generator.throw, error


def requested(backend):
    """The backend that the caller of an op forces, for the op's last argument: the argument, else `use_backend`; "" leaves it to what
    stands outside where the op runs."""
    if backend is not None:
        return check_name(backend)
    if torch.compiler.is_compiling():
        return ""
    blocks = _blocks.get()
    return blocks[-1] if blocks else ""


def requested_outside():
    """What is forced outside of the call: by `use_backend`, else by SVCONV_BACKEND, else ""."""
    blocks = _blocks.get()
    name = blocks[-1] if blocks else os.environ.get("SVCONV_BACKEND", "")
    return check_name(name) if name else ""
