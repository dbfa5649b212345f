"""Every Triton kernel, compiled ahead of time for GPUs that are not here: it compiles, does not spill and leaves room for its neighbours.

A module of Triton kernels offers `aot_launches(dtype)`: (label, Launch) on meta tensors, made by the code that launches in earnest.
"""
import importlib
import os
import pkgutil
import re
import subprocess
from pathlib import Path

import pytest
import torch

triton = pytest.importorskip("triton")
if os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("the interpreter is on in this process: nothing is compiled", allow_module_level=True)

from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

import svconv._triton

TYPES = {torch.float32: "fp32", torch.float64: "fp64", torch.float16: "fp16", torch.bfloat16: "bf16"}
TARGETS = {"sm_80": GPUTarget("cuda", 80, 32), "sm_90": GPUTarget("cuda", 90, 32), "sm_120": GPUTarget("cuda", 120, 32),
           "gfx942": GPUTarget("hip", "gfx942", 64)}
REGISTERS = {"cuda": 128, "hip": 256}     # two programs of 256 threads on a multiprocessor, two waves on a SIMD
MORE_REGISTERS = {"tanh_features": {"cuda": 192, "hip": 256}}      # one program: matrix products hold their operands in registers
SHARED = 48 * 1024                       # bytes that every GPU grants without asking
MODULES = {m.name.removeprefix("svconv._triton."): importlib.import_module(m.name)
           for m in pkgutil.walk_packages(svconv._triton.__path__, "svconv._triton.")}


def taken_down(run):
    """What `run` launches; it transforms with torch.fft, so the launches are taken down instead of made."""
    launch, found = importlib.import_module("svconv._triton.launch").Launch, []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "__call__", lambda self, device: found.append(self))
        run()
    return [(f"{i}: {one.kernel.__name__}", one) for i, one in enumerate(found)]


def quotient_launches(dtype):
    ops = MODULES["quotient"]
    x, kernel, g = torch.rand(2, 3, 20, 32, dtype=dtype), torch.rand(1, 3, 5, 5, dtype=dtype), torch.rand(2, 5, 5, dtype=dtype)
    beta, power = torch.ones(1, dtype=dtype), torch.rand(30, 22, dtype=dtype)

    def run():
        ops.conv_fwd(x, kernel, "circular")
        ops.conv_adjoint(x, kernel, "circular")
        ops.kernel_quotient_fwd(x, x, beta, 5, 5, True, 2.0, 2.0)
        for need in ((True, True, True), (False, True, False)):
            ops.kernel_quotient_bwd(g, x, x, beta, True, 2.0, 2.0, *need)
        for spectrum in (None, power):
            ops.image_quotient_fwd(x, kernel, beta, spectrum, "replicate", 2.0, 2.0)
            ops.image_quotient_bwd(x, x, kernel, beta, spectrum, "replicate", 2.0, 2.0, True, True, True, False)
        ops.image_quotient_bwd(x, x, kernel, beta, None, "replicate", 2.0, 2.0, True, False, False, False)

    return taken_down(run)


def eff_launches(dtype):
    ops, grid = MODULES["eff"], ([2], [3], 0.5, "hann")
    x, kernels, g = torch.rand(2, 3, 20, 32, dtype=dtype), torch.rand(1, 3, 6, 5, 4, dtype=dtype), torch.rand(2, 6, 5, 4, dtype=dtype)
    beta, power = torch.ones(2, dtype=dtype), torch.rand(24, 13, dtype=dtype)

    def run():
        for form in ("scatter", "gather"):
            ops.eff_fwd(x, kernels, form, "reflect", *grid)
        ops.eff_adjoint(x, kernels, "scatter", "reflect", *grid)
        ops.eff_bwd_kernels(x, x, kernels.shape, dtype, "gather", "zeros", *grid)
        ops.eff_image_quotient_fwd(x, kernels, beta, power, "replicate", *grid)
        ops.eff_image_quotient_bwd(x, x, kernels, beta, power, "replicate", *grid, True, True, True, True)
        ops.eff_kernel_quotient_fwd(x, x, beta, 5, 4, *grid)
        ops.eff_kernel_quotient_bwd(g, x, x, beta, *grid, True, True, True)

    return taken_down(run)


LAUNCHES = {name: module.aot_launches for name, module in MODULES.items() if "." not in name and hasattr(module, "aot_launches")}
TRANSFORMING = {"quotient": quotient_launches, "eff": eff_launches}
LAUNCHES |= {name: launches for name, launches in TRANSFORMING.items() if name in MODULES}
COMPUTED_IN = dict.fromkeys((*TRANSFORMING, "conjugate_gradients"), (torch.float32, torch.float64))    # half types are converted


def cases(dtypes):
    return [pytest.param(stem, dtype, id=f"{stem}-{TYPES[dtype]}") for stem in LAUNCHES for dtype in COMPUTED_IN.get(stem, tuple(TYPES))
            if dtype in dtypes]


def is_tensor(value):
    return hasattr(value, "data_ptr")


def described(value, path, specialized, constants, attributes):
    """The type of an argument; 1 is a constant, multiples of 16 and fresh tensors are known to be aligned."""
    if isinstance(value, tuple):
        return tuple(described(one, (*path, i), specialized, constants, attributes) for i, one in enumerate(value))
    if is_tensor(value):
        attributes[path] = [["tt.divisibility", 16]]
        return "*" + (TYPES | {torch.int32: "i32"})[value.dtype]
    if value is None or (value == 1 and specialized):
        constants[path] = value
        return "constexpr"
    if isinstance(value, float):
        return "fp32"
    if value % 16 == 0 and specialized:
        attributes[path] = [["tt.divisibility", 16]]
    return "i32" if -2**31 <= value < 2**31 else "i64"


def source(launch):
    """What the launcher would compile for these arguments."""
    assert set(launch.arguments) == set(launch.kernel.arg_names)     # a launch takes its arguments by the kernel's names
    signature, constants, attributes = {}, {}, {}
    for position, parameter in enumerate(launch.kernel.params):
        value = launch.arguments[parameter.name]
        if parameter.is_constexpr:
            signature[parameter.name] = "constexpr"
            constants[(position,)] = value
        else:
            signature[parameter.name] = described(value, (position,), not parameter.do_not_specialize, constants, attributes)
    return ASTSource(launch.kernel, signature, constants, attributes)


def nvidia_resources(compiled, folder):
    """{"REG": registers, "STACK": bytes of spills and calls, "SHARED": bytes, "LOCAL": bytes} from cuobjdump of the wheel."""
    cubin = folder / "kernel.cubin"
    cubin.write_bytes(compiled.asm["cubin"])
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    text = subprocess.run([tool, "--dump-resource-usage", cubin], check=True, capture_output=True, text=True).stdout
    usage = text[text.index(compiled.metadata.name):]
    return {key: int(value) for key, value in re.findall(r"(REG|STACK|SHARED|LOCAL):(\d+)", usage)}


def amd_resources(compiled):
    """Scalar registers that overflow into lanes of vector registers do not count: no memory is touched."""
    text = compiled.asm["amdgcn"]
    names = {"REG": "vgpr_count", "STACK": "vgpr_spill_count", "SHARED": "group_segment_fixed_size", "LOCAL": "private_segment_fixed_size"}
    return {key: int(re.search(rf"\.{name}:\s+(\d+)", text)[1]) for key, name in names.items()}


def check(launches, target, folder, record_property, registers=REGISTERS):
    for label, launch in launches:
        compiled = triton.compile(source(launch), target=target, options=launch.options(target.warp_size))
        used = nvidia_resources(compiled, folder) if target.backend == "cuda" else amd_resources(compiled)
        record_property(label, str(used))
        assert used["STACK"] == 0 and used["LOCAL"] == 0, f"{label} spills: {used}"
        assert 0 < used["REG"] <= registers[target.backend], f"{label}: {used}"
        assert max(used["SHARED"], compiled.metadata.shared) <= SHARED, f"{label}: {used}"


@pytest.mark.parametrize("stem, dtype", cases(tuple(TYPES)))
def test_hopper(stem, dtype, tmp_path, record_property):
    check(LAUNCHES[stem](dtype), TARGETS["sm_90"], tmp_path, record_property, MORE_REGISTERS.get(stem, REGISTERS))


@pytest.mark.parametrize("stem, dtype", cases((torch.float32, torch.bfloat16)))
@pytest.mark.parametrize("target", ["sm_80", "sm_120", "gfx942"])
def test_other_targets(stem, dtype, target, tmp_path, record_property):
    """Two types, and of the windows only 5 x 5."""
    launches = [(label, launch) for label, launch in LAUNCHES[stem](dtype) if "31x31" not in label and "7x7" not in label]
    check(launches, TARGETS[target], tmp_path, record_property, MORE_REGISTERS.get(stem, REGISTERS))


@pytest.mark.slow
@pytest.mark.parametrize("stem, dtype", cases(tuple(TYPES)))
@pytest.mark.parametrize("target", [name for name in TARGETS if name != "sm_90"])
def test_everything(stem, dtype, target, tmp_path, record_property):
    check(LAUNCHES[stem](dtype), TARGETS[target], tmp_path, record_property, MORE_REGISTERS.get(stem, REGISTERS))


def test_half_filters_beside_a_float32_image(tmp_path, record_property):
    launches = MODULES["pixel_filter"].aot_launches(torch.float32, torch.bfloat16, labels=("5x5 shared by 3",))
    check(launches, TARGETS["sm_90"], tmp_path, record_property)


@pytest.mark.parametrize("name", list(MODULES))
def test_no_kernel_is_left_out(name):
    kernels = {k for k, v in vars(MODULES[name]).items() if k.endswith("_kernel") and isinstance(v, triton.runtime.jit.JITFunction)}
    if kernels:
        launched = [launch.kernel for launches in LAUNCHES.values() for _, launch in launches(torch.float32)]
        assert kernels == {kernel.__name__ for kernel in launched if kernel.__module__ == MODULES[name].__name__}


def travelling(name, kind):
    """(name, index) of the values of an argument that the kernel gets, (name,) of one that is no tuple."""
    if isinstance(kind, tuple):
        return [(name, index) for index, one in enumerate(kind) if one != "constexpr"]
    return [(name,)] if kind != "constexpr" else []


def products(launch, *wanted):
    """Types of the products with these arguments, (name,) or (name, index), in the code for sm_90."""
    one = source(launch)
    text = triton.compile(one, target=TARGETS["sm_90"], options=launch.options(32)).asm["ttir"]
    registers = re.findall(r"(%[\w.]+): ", next(line for line in text.splitlines() if "tt.func public" in line))
    arguments = [place for name, kind in one.signature.items() for place in travelling(name, kind)]
    names = dict(zip(arguments, registers, strict=True))
    return [re.findall(rf"arith\.muli .*{re.escape(names[one])}(?![\w.]).* : (.*?)(?: loc|$)", text, re.M) for one in wanted]


def test_long_strides_are_64_bit():
    """A stride beyond 2^31 elements becomes an i64 argument, and what is multiplied by it is 64-bit."""
    x = torch.empty_strided((1, 2, 4, 4), (2**33, 2**32, 2**31 + 5, 1), device="meta")
    filters = torch.empty(1, 1, 1, 3, 3, 4, 8, device="meta")[..., :4]
    launch = MODULES["pixel_filter"].forward.fwd_launch(x, filters, None, torch.empty(1, 2, 1, 4, 4, device="meta"), "zeros")
    signature = source(launch).signature
    assert signature["x_strides"] == ("i64", "i64", "i64", "constexpr") and signature["f_strides"][5] == "i32"
    found = products(launch, ("x_strides", 1), ("x_strides", 2), ("f_strides", 5))
    assert found[0] and all("i64" in product for products in found for product in products), found


def test_strides_of_contiguous_tensors_are_64_bit():
    """They do not travel; the kernel multiplies the sizes, in 64 bits."""
    x, filters = torch.empty(1, 2, 4, 4, device="meta"), torch.empty(1, 1, 1, 3, 3, 4, 4, device="meta")
    launch = MODULES["pixel_filter"].forward.fwd_launch(x, filters, None, torch.empty(1, 2, 1, 4, 4, device="meta"), "zeros")
    kinds = [kind for kind in source(launch).signature.values() if kind != "constexpr"]
    assert kinds == ["*fp32", "*fp32", "*fp32", "i32", "i32", "i32", "i32"]
    assert products(launch, ("H",), ("W",)) == [[], []]     # only what was extended to 64 bits is multiplied


@pytest.mark.parametrize("stem", TRANSFORMING)
def test_elements_of_spectra_and_patches_are_64_bit(stem):
    """Sizes and strides travel in 32 bits where they fit; only what was extended to 64 bits is multiplied by them. Numbers of pieces and
    tiles are multiplied in 32 bits."""
    numbers = ("size", "features", "channels", "batch", "group_stride", "batch_stride", "channel_stride", "beta_stride", "stride_b",
               "stride_c", "stride_h", "stride_w", "planes", "pieces", "height", "width", "result_height", "result_width")
    for label, launch in LAUNCHES[stem](torch.float32):
        signature = source(launch).signature
        found = products(launch, *[(name,) for name in numbers if signature.get(name) == "i32"])
        assert all(kind.endswith(("i64", "i64>")) for kinds in found for kind in kinds), label
