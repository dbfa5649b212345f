"""Forcing a backend for a block or a function: each thread, task and generator for itself."""
import asyncio
import threading

import pytest

import svconv
from svconv import backends


def test_decorator_form():
    @svconv.use_backend("reference")
    def inner():
        return backends.requested(None)
    assert inner() == "reference" and inner() == "reference" and backends.requested(None) == ""


def test_threads_force_their_own_backend_through_one_decorated_function():
    """Both threads are inside before either leaves, and they leave in the order they came."""
    inside, first_left, seen, failed = threading.Barrier(2), threading.Event(), {}, []

    @svconv.use_backend("reference")
    def decorated(name):
        inside.wait(10)
        if name == "second":
            first_left.wait(10)
        seen[name] = backends.requested(None)

    def work(name):
        try:
            decorated(name)
            first_left.set()
            seen[name + " after"] = backends.requested(None)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("first", "second")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failed == []
    assert seen == {"first": "reference", "second": "reference", "first after": "", "second after": ""}
    assert backends.requested(None) == ""


def test_threads_share_one_context_manager():
    shared, barrier, failed = svconv.use_backend("triton"), threading.Barrier(4), []

    def work():
        try:
            for _ in range(20):
                barrier.wait(10)
                with shared:
                    barrier.wait(10)
                    assert backends.requested(None) == "triton"
                    with svconv.use_backend("reference"), shared:
                        assert backends.requested(None) == "triton"
                assert backends.requested(None) == ""
        except Exception as error:
            failed.append(error)
            barrier.abort()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []


def test_decorated_functions_may_call_themselves():
    @svconv.use_backend("reference")
    def inner(depth):
        with svconv.use_backend("triton"):
            assert backends.requested(None) == "triton"
            below = inner(depth - 1) if depth else []
        return [backends.requested(None)] + below

    assert inner(3) == ["reference"] * 4 and backends.requested(None) == ""


def test_an_exception_ends_the_block():
    with pytest.raises(KeyError), svconv.use_backend("reference"):
        raise KeyError
    assert backends.requested(None) == ""


def test_decorated_coroutines():
    @svconv.use_backend("reference")
    async def asked():
        await asyncio.sleep(0)
        return backends.requested(None)

    async def plain():
        await asyncio.sleep(0)
        return backends.requested(None)

    async def both():
        return await asyncio.gather(asked(), plain(), svconv.use_backend("triton")(asked)(), svconv.use_backend("triton")(plain)())

    assert asyncio.run(both()) == ["reference", "", "reference", "triton"]


def test_decorated_generators_force_nothing_between_their_steps():
    closed = []

    @svconv.use_backend("reference")
    def steps():
        try:
            got = yield backends.requested(None)
            try:
                yield got, backends.requested(None)
            except KeyError:
                yield "caught", backends.requested(None)
            yield "last"
        finally:
            closed.append(backends.requested(None))
        return "end"

    running = steps()
    assert next(running) == "reference" and backends.requested(None) == ""
    assert running.send(5) == (5, "reference") and backends.requested(None) == ""
    assert running.throw(KeyError) == ("caught", "reference") and backends.requested(None) == ""
    running.close()
    assert closed == ["reference"] and backends.requested(None) == ""

    def outer():
        return (yield from steps())

    running = outer()
    assert [next(running), running.send(1), next(running)] == ["reference", (1, "reference"), "last"]
    with pytest.raises(StopIteration, match="end"):
        next(running)


def test_asynchronous_generators_are_refused():
    with pytest.raises(TypeError, match="use_backend: expected a function, a coroutine function or a generator function, got .*steps"):
        @svconv.use_backend("reference")
        async def steps():
            yield 1
