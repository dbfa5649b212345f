"""Every CUDA kernel, compiled for GPUs that are not here: without warnings or spills, with room for the blocks that it counts on.

A module of svconv/backends/cuda offers KERNELS: {name expression: Resources} of everything that it launches.
"""
import functools
import importlib
import pkgutil
import re
import shutil
import subprocess

import pytest
import torch

import svconv.backends.cuda
from svconv.backends.cuda.launch import CUPY_OPTIONS, OPTIONS, Resources
from svconv.backends.cuda.source import assembled, folder

# threads and bytes of shared memory of a multiprocessor, most bytes of a block; every block costs 1 KB more than it asks for
LIMITS = {"sm_80": (2048, 164 << 10, 163 << 10), "sm_90": (2048, 228 << 10, 227 << 10), "sm_120": (1536, 100 << 10, 99 << 10)}
RESERVED = 1 << 10
MODULES = {module.name.rpartition(".")[2]: importlib.import_module(module.name)
           for module in pkgutil.iter_modules(svconv.backends.cuda.__path__, "svconv.backends.cuda.")}
STEMS = {stem: module.KERNELS for stem, module in MODULES.items() if hasattr(module, "KERNELS")}


@functools.cache
def compiler():
    """CuPy's module around NVRTC, or why it is not here."""
    try:
        nvrtc = importlib.import_module("cupy").cuda.nvrtc
        nvrtc.getVersion()
    except Exception as error:
        return f"needs cupy-cuda12x and nvidia-cuda-nvrtc-cu12 from the extra dev: {type(error).__name__}"
    return nvrtc


@pytest.fixture
def nvrtc():
    if isinstance(compiler(), str):
        pytest.skip(compiler())


@functools.cache
def compiled(text, names, architecture):
    """(log, PTX, {name: symbol})."""
    nvrtc = compiler()
    program = nvrtc.createProgram(text, "kernels.cu", (), ())
    for name in names:
        nvrtc.addNameExpression(program, name)
    options = (*OPTIONS, *CUPY_OPTIONS, f"--gpu-architecture={architecture}", "--ptxas-options=-v")
    try:
        nvrtc.compileProgram(program, options)
    except nvrtc.NVRTCError as error:
        raise AssertionError(f"{error}\n{nvrtc.getProgramLog(program)[:4000]}") from None
    ptx = nvrtc.getPTX(program)
    symbols = {name: nvrtc.getLoweredName(program, name) for name in names}
    log = nvrtc.getProgramLog(program)
    nvrtc.destroyProgram(program)
    return log, ptx if isinstance(ptx, str) else ptx.decode(), symbols


def used(log, symbol):
    """{"registers", "stack", "spilled", "static"}: the last three in bytes, of a kernel as ptxas reports it."""
    report = re.search(rf"Function properties for {re.escape(symbol)}\n(.*?)(?=Function properties|\Z)", log, re.S)[1]

    def number(pattern):
        return sum(map(int, re.findall(pattern, report.split("Compiling entry function")[0])))

    return {"registers": number(r"Used (\d+) registers"), "stack": number(r"(\d+) bytes stack frame"),
            "spilled": number(r"(\d+) bytes spill"), "static": number(r"(\d+) bytes smem")}


def wrong(usage, resources, architecture):
    """What a kernel takes that it may not."""
    threads, multiprocessor, _ = LIMITS[architecture]
    if usage["spilled"]:
        yield "spills"
    if usage["stack"] > resources.local:
        yield f"local memory above {resources.local}"
    if not 0 < usage["registers"] <= resources.registers:
        yield f"registers above {resources.registers}"
    if architecture in resources.holds_on:
        shared = resources.blocks * (resources.shared + usage["static"] + RESERVED)
        if shared > multiprocessor:
            yield f"{resources.blocks} blocks with {shared} bytes of shared memory"
        if resources.blocks * resources.threads > threads:
            yield f"{resources.blocks} blocks of {resources.threads} threads"


def entry(ptx, symbol):
    """(what stands between the name and the body of a kernel, its body)."""
    return re.search(rf"\.entry {re.escape(symbol)}\((.*?)\n\{{\n(.*?)\n\}}", ptx, re.S).groups()


def bounds(ptx, symbol):
    """(most threads of a block, least blocks on a multiprocessor) that the code was made for; None where nothing is said."""
    found = re.search(r"\.maxntid (\d+).*?\.minnctapersm (\d+)", entry(ptx, symbol)[0], re.S)
    return tuple(map(int, found.groups())) if found else None


def linkage(ptx, symbol):
    """Empty for a kernel in an unnamed namespace or with a type from there; its symbol has the number of the process in it."""
    return re.search(rf"^(\S*) ?\.entry {re.escape(symbol)}\(", ptx, re.M)[1]


def check(log, ptx, symbols, kernels, architecture, record_property):
    assert "warning" not in log, log[:4000]
    for name, resources in kernels.items():
        usage = used(log, symbols[name])
        record_property(name, str(usage))
        assert not list(wrong(usage, resources, architecture)), f"{name}, {architecture}: {usage}"
        shown = linkage(ptx, symbols[name]) in (".visible", ".weak") and "_GLOBAL__N_" not in symbols[name]
        assert shown, f"{name}: a module does not show it, or by another name in every process"
        assert bounds(ptx, symbols[name]) in (None, (resources.threads, resources.blocks)), f"{name}: its __launch_bounds__ say otherwise"


@pytest.mark.parametrize("architecture", LIMITS)
@pytest.mark.parametrize("stem", STEMS)
def test_nvrtc(nvrtc, stem, architecture, record_property):
    log, ptx, symbols = compiled(assembled(f"{stem}.cuh"), tuple(STEMS[stem]), architecture)
    check(log, ptx, symbols, STEMS[stem], architecture, record_property)


@pytest.mark.parametrize("stem", STEMS)
def test_every_kernel_is_held_by_some_gpu(stem):
    for name, resources in STEMS[stem].items():
        able = {architecture for architecture, (_, _, most) in LIMITS.items() if resources.shared <= most}
        assert resources.holds_on and set(resources.holds_on) <= able, name


@pytest.mark.parametrize("stem", STEMS)
def test_nvcc(stem, tmp_path):
    """The compiler of the toolkit takes the same files."""
    if shutil.which("nvcc") is None:
        pytest.skip("this machine has no nvcc")
    source = tmp_path / f"{stem}.cu"
    entries = "".join(f"    reinterpret_cast<void*>(&{name}),\n" for name in STEMS[stem])
    source.write_text(f'#include "cuda/{stem}.cuh"\nvoid* const kernels[] = {{\n{entries}}};\n')
    command = ["nvcc", *OPTIONS, "-fatbin", "-gencode=arch=compute_90,code=sm_90", "-Werror=all-warnings",
               f"-I{folder()}", str(source), "-o", str(tmp_path / "kernels.fatbin")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[:4000]


# the tests of these tests --------------------------------------------------------------------------------------------------

FAULTY = """
__global__ void spills(float* x, long long n) {
  float values[200];
  for (int i = 0; i < 200; ++i) values[i] = x[i * n];
  for (int i = 0; i < 200; ++i) x[i] = values[(i * n) % 200];
}
__global__ void __launch_bounds__(1024, 2) crowded(float* x, long long n) {
  float values[60];
#pragma unroll
  for (int i = 0; i < 60; ++i) values[i] = x[i * n];
  __syncthreads();
#pragma unroll
  for (int i = 0; i < 60; ++i) x[i * n] = values[59 - i] * values[i];
}
__global__ void shares(float* x) {
  __shared__ float all[2048];
  all[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  x[threadIdx.x] = all[threadIdx.x ^ 1];
}
"""


@pytest.mark.parametrize("name, resources, found", [
    ("spills", Resources(256, 1), "local memory above 0"), ("crowded", Resources(1024, 2), "spills"),
    ("shares", Resources(256, 7, 24 << 10), "7 blocks with 236544 bytes"), ("shares", Resources(1024, 3), "3 blocks of 1024")])
def test_faults_are_found(nvrtc, name, resources, found):
    log, _, symbols = compiled(FAULTY, ("spills", "crowded", "shares"), "sm_90")
    assert re.search(found, "; ".join(wrong(used(log, symbols[name]), resources, "sm_90")))
    enough = Resources(256, 1, local=10000)
    assert name == "crowded" or not list(wrong(used(log, symbols[name]), enough, "sm_90"))


def test_warnings_are_found(nvrtc, record_property):
    text = "__device__ int g(int i) { if (i) return 2; }\n__global__ void f(int* x) { x[0] = g(x[1]); }"
    log, ptx, symbols = compiled(text, ("f",), "sm_90")
    with pytest.raises(AssertionError, match="missing return"):
        check(log, ptx, symbols, {"f": Resources(32, 1)}, "sm_90", record_property)


@pytest.mark.parametrize("text, name", [
    ("namespace { struct T {}; }\ntemplate <typename S> __global__ void f(int* x) { x[0] = 1; }", "f<T>"),
    ("namespace { __global__ void f(int* x) { x[0] = 1; } }", "f"),
    ("namespace { template <typename S> struct T { using type = S; }; }\n"
     "template <typename S> __global__ void f(typename T<S>::type* x) { x[0] = 1; }", "f<int>")])
def test_kernels_that_a_module_does_not_show_are_found(nvrtc, text, name, record_property):
    log, ptx, symbols = compiled(text, (name,), "sm_90")
    with pytest.raises(AssertionError, match="does not show it"):
        check(log, ptx, symbols, {name: Resources(32, 1)}, "sm_90", record_property)


def test_other_bounds_are_found(nvrtc, record_property):
    log, ptx, symbols = compiled("__global__ void __launch_bounds__(64, 2) f(int* x) { x[0] = 1; }", ("f",), "sm_90")
    check(log, ptx, symbols, {"f": Resources(64, 2)}, "sm_90", record_property)
    for other in (Resources(128, 2), Resources(64, 3)):
        with pytest.raises(AssertionError, match="f: its __launch_bounds__"):
            check(log, ptx, symbols, {"f": other}, "sm_90", record_property)


# bytes of the normal operator ----------------------------------------------------------------------------------------------

def accesses(text):
    """{(operation, space): {bits: number}}."""
    found = {}
    for operation, space, bits in re.findall(r"\b(ld|st)\.(global|shared)(?:\.\w+)*?\.[bfus](\d+)\s", text):
        kinds = found.setdefault((operation, space), {})
        kinds[int(bits)] = kinds.get(int(bits), 0) + 1
    return found


@pytest.mark.parametrize("dtype, filters_dtype", [
    (torch.float32, torch.float32), (torch.float32, torch.bfloat16), (torch.float64, torch.float64), (torch.bfloat16, torch.bfloat16)],
    ids=str)
@pytest.mark.parametrize("side", [3, 5, 7])
def test_bytes_of_the_normal_operator(nvrtc, side, dtype, filters_dtype, record_property):
    """Counted from the code: a map costs one load for each of its filter values, one of the weight, and shared memory. What the tiles pass
    on and read twice adds, for five maps, an eighth to the op's floor at 3 x 3 and a twentieth at 7 x 7, or less."""
    host = MODULES["pixel_filter"]
    _, ptx, symbols = compiled(assembled("pixel_filter.cuh"), tuple(host.KERNELS), "sm_90")
    gram = entry(ptx, symbols[host._gram(dtype, filters_dtype, side)])[1]
    start, maps = gram.split("bar.sync", 1)             # what is before the first barrier copies x to shared memory
    image, values, sums = dtype.itemsize, filters_dtype.itemsize, host._accumulator(dtype).itemsize
    taps, counted = side * side, accesses(maps)
    loads = counted["ld", "global"]
    assert sum(loads.values()) == taps + 1 and loads[8 * values] >= taps
    assert counted["st", "global"] == {8 * sums: 1}     # the tile's result
    assert sum(counted["st", "shared"].values()) == taps
    assert sum(counted["ld", "shared"].values()) == 2 * taps + side
    assert set(accesses(start)["ld", "global"]) == {8 * image}
    fold = accesses(entry(ptx, symbols[host._fold(dtype)])[1])
    assert set(fold["ld", "global"]) == {8 * sums} and fold["st", "global"] == {8 * image: 1}

    halo = host._halo(side) / host.THREADS
    moved = 5 * taps * values + halo * (image + 2 * sums) + image
    floor = 5 * taps * values + 2 * image
    record_property("bytes per pixel, five maps", f"{moved:.0f}, floor {floor}")
    assert moved <= {3: 1.13, 5: 1.07, 7: 1.05}[side] * floor
