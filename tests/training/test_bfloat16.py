"""bfloat16 on a processor that has no instructions for it: many times slower than float32, which is said once."""
import warnings

import pytest
import torch

from svconv import _bfloat16
from svconv.models import BlurKernelSpace, deep_prior_deblur
from svconv.training.ebks_settings import EBKSSettings
from svconv.training.svmap_settings import SVMAPSettings

MESSAGE = "no instructions for bfloat16"


@pytest.fixture
def without_instructions(monkeypatch):
    def have(supported):
        monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: supported)
        _bfloat16.warn_if_emulated.cache_clear()

    have(False)
    yield have
    _bfloat16.warn_if_emulated.cache_clear()


def warned(act):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        act()
    return [str(one.message) for one in found if MESSAGE in str(one.message)]


@pytest.mark.parametrize("settings", [EBKSSettings, SVMAPSettings])
def test_settings(without_instructions, settings):
    asked = settings(precision="bfloat16")
    assert len(warned(lambda: [asked.precision_on("cpu") for _ in range(3)])) == 1
    assert not warned(lambda: (settings().precision_on("cpu"), settings(precision="float32").precision_on("cpu")))
    without_instructions(False)
    assert not warned(lambda: asked.precision_on("cuda"))
    without_instructions(True)
    assert not warned(lambda: asked.precision_on("cpu"))


def test_deep_prior(without_instructions):
    space = BlurKernelSpace(width=2)
    y = torch.rand(1, 3, 128, 128)
    assert warned(lambda: deep_prior_deblur(y, space, steps=1, warmup=0, image_prior="pixels", precision="bfloat16"))
