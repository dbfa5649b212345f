"""bench/svbr_net.py: the network beside its plain layers computes the same, and the section says what was wanted."""
import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).resolve().parents[2]))
from bench import svbr_net
from svconv.models import SVBRNet
from svconv.models.svbr_net.blocks import ConvNorm

pytestmark = pytest.mark.usefixtures("one_thread")


def test_plain_layers_normalise_apart_and_the_network_does_not(monkeypatch):
    model = SVBRNet().eval()
    other, calls = svbr_net.plain(model), []
    monkeypatch.setattr(torch.nn.BatchNorm2d, "forward", lambda self, x: calls.append(self) or x)
    image, radius = torch.rand(1, 3, 16, 16), torch.rand(1, 1, 16, 16)
    with torch.no_grad():
        other(image, radius)
        layers = sum(isinstance(module, ConvNorm) for module in model.modules())
        assert len(calls) == layers == 71
        model(image, radius)
    assert len(calls) == layers


def test_the_record_and_its_section():
    found = svbr_net.record(16, 2, 2.0, compiled=False)
    assert found["SVBRNet"]["over"] == 1 and all(row["deviation"] < 1e-5 for row in found.values())
    found[svbr_net.PLAIN]["over"] = 1.2
    text = svbr_net.section(found, 16)
    assert "**missed**" in text and "| eager torch | " in text
    found[svbr_net.PLAIN]["over"] = 1.4
    assert "**missed**" not in svbr_net.section(found, 16)
