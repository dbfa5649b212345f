"""`svconv.models.export`: programs that load where only torch and svconv.ops are imported, and compute what the model does."""
import json
import os
import subprocess
import sys

import pytest
import torch

import svconv
from svconv.files import FileError
from svconv.models import SIMAP, SVMAP, BlurKernelSpace, DegradationDeblur, LearningToDeblur, SVBRNet, export
from svconv.models.export import check_compiler, export as exporting

SMALL = dict(width=8, iterations=1, max_iter=200, tol=1e-3)


def seeded(kind, *arguments, **options):
    torch.manual_seed(5)
    return kind(*arguments, **options).eval()


def random(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape)))


def images(channels, *sizes):
    return [(random(batch, channels, height, width),) for batch, height, width in sizes]


def pairs(*sizes):
    return [(random(batch, 3, height, width), random(batch, 3, height, width).flip(-1)) for batch, height, width in sizes]


# name: (model, options of export, what goes in); any size unless there is one in the options
PROGRAMS = {
    "svbr": (lambda: SVBRNet.from_pretrained(), {}, [(x, 7 * random(len(x), 1, *x.shape[-2:]))
                                                     for x, in images(3, (1, 5, 5), (1, 41, 30), (3, 16, 19), (2, 64, 64))]),
    "ltd": (lambda: LearningToDeblur.from_pretrained(), {}, images(1, (1, 34, 35), (2, 61, 48), (1, 80, 80))),
    "ltd of two scales": (lambda: seeded(LearningToDeblur, (5, 9), stages=2), {}, images(1, (1, 18, 18), (2, 61, 48), (1, 37, 90))),
    "svmap": (lambda: seeded(SVMAP, **SMALL), {"size": (30, 41), "kernel_size": 7}, [(random(1, 3, 30, 41), random(1, 1, 7, 7) / 24)]),
    "simap": (lambda: seeded(SIMAP, **SMALL), {"size": (29, 32), "kernel_size": 6}, [(random(1, 3, 29, 32), random(1, 1, 6, 6) / 18)]),
    "transfer": (lambda: seeded(BlurKernelSpace, width=4), {},
                 [(*pair, to) for pair, (to,) in zip(pairs((1, 129, 140), (2, 150, 131), (1, 129, 129)),
                                                     images(3, (1, 131, 129), (2, 150, 131), (1, 257, 129)))]),
    "encode": (lambda: seeded(BlurKernelSpace, "reference", True, width=4), {"part": "encode"}, pairs((1, 129, 140), (2, 256, 131))),
    "encode 128": (lambda: seeded(BlurKernelSpace, width=4), {"part": "encode", "size": (128, 128)}, pairs((1, 128, 128))),
    "blur": (lambda: seeded(BlurKernelSpace, width=4), {"part": "blur"},
             [(x, random(len(x), 32, -(-x.shape[2] // 128), -(-x.shape[3] // 128)))
              for x, in images(3, (1, 129, 200), (2, 256, 131), (1, 129, 384))]),
    "ldr": (lambda: seeded(DegradationDeblur, 2, width=2), {}, images(3, (1, 17, 20), (2, 32, 45))),
}
LONG = "simap", "encode", "encode 128", "blur", "ldr"     # left to --slow
CALLS = {"ltd": lambda model, x: model(x)[:2], "transfer": lambda model, *x: model.transfer(*x),
         "encode": lambda model, *x: model.encode(*x), "blur": lambda model, *x: model.blur(*x), "ldr": lambda model, x: model(x).x}

CHILD = """
import json, sys
import torch
import svconv.ops
found, texts = {}, {}
for path, cases in torch.load(sys.argv[1]).items():
    inside = {"svconv.json": ""}
    program = torch.export.load(path, extra_files=inside).module()
    found[path], texts[path] = [], inside["svconv.json"]
    with torch.no_grad():
        for inputs, expected in cases:
            outputs = program(*inputs)
            outputs = outputs if isinstance(outputs, (tuple, list)) else [outputs]
            found[path].append(len(outputs) == len(expected) and all(map(torch.equal, outputs, expected)))
above = [name for name in sys.modules if name.startswith(("svconv.models", "svconv.solvers", "svconv.nn", "svconv.operators"))]
print(json.dumps([found, texts, above]))
"""


def called(name, model, inputs):
    """The outputs of the model as a list."""
    found = CALLS.get(name.split()[0], lambda model, *x: model(*x))(model, *inputs)
    return list(found) if isinstance(found, tuple) else [found]


@pytest.fixture(scope="module")
def written(tmp_path_factory, request):
    """{name: (Exported, model)}, all programs in files."""
    folder = tmp_path_factory.mktemp("programs")
    made = {}
    for name, (make, options, _) in PROGRAMS.items():
        if name not in LONG or request.config.getoption("--slow"):
            model = make()
            made[name] = export(model, folder / f"{name}.pt2", **options), model
    return made


@pytest.fixture(scope="module")
def found(written, tmp_path_factory):
    """({name: for each of the inputs whether the program, in a process of its own, has the bits of the model}, {name: what the file says of
    itself}, what was imported of the layers above the ops)."""
    cases = {}
    with torch.no_grad():
        for name, (exported, model) in written.items():
            cases[exported.path] = [(inputs, called(name, model, inputs)) for inputs in PROGRAMS[name][2]]
    path = tmp_path_factory.mktemp("cases") / "cases.pt"
    torch.save(cases, path)
    done = subprocess.run([sys.executable, "-c", CHILD, path], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    equal, texts, above = json.loads(done.stdout)
    paths = {name: exported.path for name, (exported, _) in written.items()}
    return {name: equal[path] for name, path in paths.items()}, {name: texts[path] for name, path in paths.items()}, above


every_program = pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in PROGRAMS])


@every_program
def test_a_program_in_another_process_has_the_bits_of_the_model(found, name):
    assert found[0][name] == [True] * len(PROGRAMS[name][2])


def test_a_program_needs_the_ops_alone(found):
    assert found[2] == []


@every_program
def test_what_was_written_had_the_bits_of_the_model_too(written, name):
    assert written[name][0].difference == 0 and written[name][0].rounding is None


@every_program
def test_a_file_says_what_it_is(written, found, name):
    exported, model = written[name]
    described = json.loads(found[1][name])
    assert described == json.loads(json.dumps(exported.description))
    assert described["model"] == type(model).__name__ and described["arguments"] == json.loads(json.dumps(model.arguments))
    assert described["svconv"] == svconv.__version__ and described["form"] == "torch.export"
    given = PROGRAMS[name][2][0]
    for ports, tensors in ((described["inputs"], given), (described["outputs"], called(name, model, given))):
        assert len(ports) == len(tensors)
        for port, t in zip(ports, tensors):
            assert port["name"].isidentifier() and port["meaning"] and port["dtype"] == "float32" and len(port["shape"]) == t.dim()
            assert all(isinstance(axis, str) or axis == n for axis, n in zip(port["shape"], t.shape))
    assert ("size" in PROGRAMS[name][1]) == (described["least"] == {})


def test_the_least_sides_are_said_and_smaller_ones_refused(written):
    assert written["svbr"][0].description["least"] == {"batch": 1, "height": 5, "width": 5}
    assert written["ltd"][0].description["least"] == {"batch": 1, "height": 34, "width": 34}
    assert set(written["transfer"][0].description["least"].values()) == {1, 129}
    program = torch.export.load(written["ltd"][0].path).module()
    with pytest.raises(AssertionError, match="34"):
        program(random(1, 1, 40, 33))


def test_a_program_for_one_size_refuses_another(written):
    program = torch.export.load(written["svmap"][0].path).module()
    with pytest.raises(AssertionError, match=r"\b30\b"):
        program(random(1, 3, 31, 41), random(1, 1, 7, 7) / 24)


def test_a_solve_is_a_loop_that_ends_where_that_of_the_model_does(written):
    """Before the last of its steps; the bits are compared above."""
    exported, model = written["svmap"]
    with torch.no_grad():
        assert int(model(*PROGRAMS["svmap"][2][0], details=True).reports[0].iterations) < 100
    loops = [node for node in torch.export.load(exported.path).graph.nodes if node.target is torch.ops.higher_order.while_loop]
    assert len(loops) == 2      # x^0, and the one iteration


def test_a_smaller_kernel_stands_in_the_middle_of_zeros(written):
    model, kernel = written["svmap"][1], random(1, 1, 3, 3) / 5
    y = svconv.conv(torch.nn.functional.interpolate(random(1, 3, 6, 8), (30, 41), mode="bilinear"), kernel, padding="replicate")
    with torch.no_grad():
        wide = torch.export.load(written["svmap"][0].path).module()(y, torch.nn.functional.pad(kernel, (2,) * 4))
        assert (wide - model(y, kernel)).abs().mean() < 5e-3 < (y - model(y, kernel)).abs().mean()


def test_nan_goes_through(written):
    program, image = torch.export.load(written["svbr"][0].path).module(), random(1, 3, 20, 20)
    image[..., 3, 4] = float("nan")
    with torch.no_grad():
        assert program(image, random(1, 1, 20, 20)).isnan().any()


# arguments -------------------------------------------------------------------------------------------------------------

def training():
    return LearningToDeblur((5,), stages=1).train()


@pytest.mark.parametrize("model, options, error, message", [
    (lambda: torch.nn.Linear(2, 2), {}, TypeError, "model: expected one of SVBRNet, .*, got Linear"),
    (training, {}, ValueError, "model: expected one in eval mode"),
    (lambda: seeded(LearningToDeblur, (5,), stages=1).double(), {}, TypeError, "model: expected float32 weights on the CPU, got .*float64"),
    (lambda: seeded(SVBRNet), {"part": "encode"}, ValueError, "part: expected 'restore' for SVBRNet, got 'encode'"),
    (lambda: seeded(SVBRNet), {"kernel_size": 3}, ValueError, "kernel_size: expected None for SVBRNet"),
    (lambda: seeded(SVMAP, **SMALL), {}, ValueError, r"size: expected \(height, width\) for SVMAP, .*, got None"),
    (lambda: seeded(SVMAP, **SMALL), {"size": (30, 30), "kernel_size": 0}, ValueError, "kernel_size: expected an integer >= 1, got 0"),
    (lambda: seeded(SVBRNet), {"size": 30}, ValueError, r"size: expected \(height, width\) or None, got 30"),
    (lambda: seeded(BlurKernelSpace, width=4), {"size": (100, 128)}, ValueError, "size: expected an integer >= 128, got 100")])
def test_arguments_are_looked_at_first(tmp_path, model, options, error, message):
    with pytest.raises(error, match=message):
        export(model(), tmp_path / "out.pt2", **options)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name, message", [("out.pt", "expected a name that ends in .pt2"), ("none/out.pt2", "the folder does not exist")])
def test_a_path_that_cannot_be_written(tmp_path, name, message):
    with pytest.raises(FileError, match=message):
        export(seeded(SVBRNet), tmp_path / name)


# files -----------------------------------------------------------------------------------------------------------------

@pytest.fixture
def small():
    return seeded(LearningToDeblur, (5,), stages=1)


def test_a_second_run_replaces_the_file(tmp_path, small):
    path = tmp_path / "ltd.pt2"
    path.write_bytes(b"old")
    for _ in range(2):
        export(small, path, weights="a", license="b")
    inside = {"svconv.json": ""}
    torch.export.load(path, extra_files=inside)
    described = json.loads(inside["svconv.json"])
    assert (described["weights"], described["license"]) == ("a", "b") and os.listdir(tmp_path) == ["ltd.pt2"]


def test_a_program_that_differs_is_not_written(tmp_path, small, monkeypatch):
    path = tmp_path / "ltd.pt2"
    path.write_bytes(b"old")
    monkeypatch.setattr(sys.modules["svconv.models.export.export"], "compared", lambda *_: (1e-3, 1e-5))
    with pytest.raises(RuntimeError, match="differs from the model by 0.001, 8 times its rounding are 8e-05; nothing is written"):
        export(small, path)
    assert os.listdir(tmp_path) == ["ltd.pt2"] and path.read_bytes() == b"old"


def test_a_difference_is_seen(tmp_path, small, monkeypatch):
    """The comparison itself: of a program whose weights are others."""
    load = torch.export.load

    def other(file):
        program = load(file)
        next(t for name, t in program.state_dict.items() if "filters" in name).mul_(1.001)
        return program

    monkeypatch.setattr(torch.export, "load", other)
    with pytest.raises(RuntimeError, match="differs from the model"):
        export(small, tmp_path / "ltd.pt2")
    assert os.listdir(tmp_path) == []


def test_a_full_disk_leaves_what_was_there(tmp_path, small):
    """The limit on the size of a file, in a process of its own."""
    path = tmp_path / "ltd.pt2"
    path.write_bytes(b"old")
    program = ("import resource, signal, sys\nfrom svconv.models import LearningToDeblur, export\n"
               "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))\n"
               "export(LearningToDeblur((5,), stages=1).eval(), sys.argv[1])")
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "FileError" in done.stderr and "too large" in done.stderr.lower(), done.stderr
    assert os.listdir(tmp_path) == ["ltd.pt2"] and path.read_bytes() == b"old"


# compiled --------------------------------------------------------------------------------------------------------------

COMPILED = """
import json, sys
import torch
import svconv.ops
package = torch._inductor.aoti_load_package(sys.argv[1])
(inputs, expected), *_ = cases = torch.load(sys.argv[2])
with torch.no_grad():
    found = [package(*inputs) for inputs, _ in cases]
found = [f if isinstance(f, (tuple, list)) else [f] for f in found]
worst = max(float((a - b).abs().max()) for one, (_, expected) in zip(found, cases) for a, b in zip(one, expected))
print(json.dumps([worst, json.loads(package.get_metadata()["svconv.json"])["form"]]))
"""
BOUNDS = {"svbr": 1e-5, "ltd": 2e-3, "ltd of two scales": 2e-2, "svmap": 2e-2, "simap": 2e-2, "transfer": 1e-4, "encode": 1e-4,
          "blur": 1e-4, "ldr": 1e-3}


@pytest.fixture
def compiler():
    try:
        check_compiler()
    except RuntimeError:
        pytest.skip("needs a C++ compiler")


@pytest.mark.parametrize("name", [pytest.param(name, marks=[] if name == "ltd" else pytest.mark.slow) for name in BOUNDS])
def test_a_compiled_program_is_the_model_to_rounding(compiler, tmp_path, name):
    make, options, given = PROGRAMS[name]
    model = make()
    exported = export(model, tmp_path / "program.pt2", aot=True, **options)
    assert exported.description["form"] == "AOTInductor"
    assert exported.difference == 0 or exported.difference <= 8 * exported.rounding < 0.1
    with torch.no_grad():
        torch.save([(inputs, called(name, model, inputs)) for inputs in given], tmp_path / "cases.pt")
    done = subprocess.run([sys.executable, "-c", COMPILED, exported.path, tmp_path / "cases.pt"], capture_output=True, text=True,
                          timeout=300)
    assert done.returncode == 0, done.stderr
    worst, form = json.loads(done.stdout)
    assert worst < BOUNDS[name] and form == "AOTInductor"


@pytest.fixture
def no_compiler():
    with torch._inductor.config.patch({"cpp.cxx": "/no/such/compiler"}):
        yield


def test_without_a_compiler_nothing_is_begun(no_compiler, tmp_path, small, monkeypatch):
    monkeypatch.setattr(torch.export, "export", lambda *_, **__: pytest.fail("the program was traced"))
    with pytest.raises(RuntimeError, match=r"aot: expected a C\+\+ compiler"):
        export(small, tmp_path / "ltd.pt2", aot=True)
    assert os.listdir(tmp_path) == []


def test_a_compiler_that_fails_says_so(compiler, tmp_path, small):
    wrong, folder = tmp_path / "g++", tmp_path / "out"
    wrong.write_text("#!/bin/sh\ncase \"$*\" in *--version*) echo 'g++ 12.2.0';; *) exit 1;; esac\n")
    wrong.chmod(0o755)
    folder.mkdir()
    with torch._inductor.config.patch({"cpp.cxx": str(wrong)}), pytest.raises(RuntimeError, match="aot: AOTInductor failed: "):
        export(small, folder / "ltd.pt2", aot=True)
    assert os.listdir(folder) == []


def test_the_package_is_found_beside_the_function_of_its_name():
    assert exporting is export
