"""The instruction sets of the compiled module: results that agree, and SVCONV_ISA."""
import numpy as np
import pytest
import torch  # noqa: F401  before svconv._C, so that one libgomp serves both

_C = pytest.importorskip("svconv._C", reason="svconv._C is not built")

ISA_PROGRAM = """
import numpy as np, torch, svconv._C as C
rng = np.random.default_rng(5)
x, f, y = (rng.standard_normal(s).astype(np.float32) for s in ((1, 2, 33, 45), (1, 1, 2, 5, 11, 33, 45), (1, 2, 2, 33, 45)))
half = lambda a, t: torch.from_numpy(a).to(t).view(torch.uint16).numpy()
outs = []
for name, conv in (("float32", lambda a: a), ("bfloat16", lambda a: half(a, torch.bfloat16)), ("float16", lambda a: half(a, torch.float16))):
    empty = lambda a: np.empty_like(conv(a))
    tail = ("circular", 2, name, name)
    o = [empty(y), empty(x), empty(f), empty(x)]
    C.pixel_filter_fwd(conv(x), conv(f), o[0], *tail)
    C.pixel_filter_adjoint(conv(y), conv(f), o[1], *tail)
    C.pixel_filter_bwd_filters(conv(x), conv(y), o[2], *tail)
    C.pixel_filter_gram(conv(x), conv(f), None, o[3], *tail)
    kind = getattr(torch, name)
    outs += [(torch.from_numpy(a) if name == "float32" else torch.from_numpy(a).view(kind)).double().numpy().ravel() for a in o]
print(C.build_info()["isa"])
np.save(__import__("os").environ["OUT"], np.concatenate(outs))
"""


def test_lower_instruction_sets_agree(tmp_path, child):
    results = {}
    for isa in _C.build_info()["isa_supported"]:
        path = tmp_path / f"{isa}.npy"
        done = child(ISA_PROGRAM, SVCONV_ISA=isa, OUT=str(path))
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == [isa]
        results[isa] = np.load(path)
    first = next(iter(results.values()))
    for isa, values in results.items():
        # A float32 sum may round otherwise with FMA; one unit in the last place of a half type then follows.
        np.testing.assert_allclose(values, first, rtol=2.0**-7, atol=2e-3, err_msg=isa)
        assert np.mean(np.abs(values - first)) < 1e-4


def test_unknown_instruction_set_is_named(child):
    done = child("import torch, svconv._C", SVCONV_ISA="sse9")
    assert done.returncode != 0 and "SVCONV_ISA" in done.stderr
