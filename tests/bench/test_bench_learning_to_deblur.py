"""The speed table of Learning to Deblur: the plain torch baseline computes the same, the document is made from records."""
import pathlib
import sys

import pytest
import torch

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2]))
from bench import learning_to_deblur as bench


@torch.no_grad()
@pytest.mark.parametrize("kernel", [17, 33])
def test_plain_torch_computes_the_same(kernel):
    model, image = bench.inputs(kernel, 81)
    ours, plain = model.double().estimate(image.double())[0], bench.plain_estimate(model, image.double())
    assert len(ours) == len(plain) == 3 * len(bench.SIZES[kernel])
    torch.testing.assert_close(ours[0], plain[0], rtol=0, atol=1e-6 * float(ours[0].max()))     # the baseline's taper is float32
    torch.testing.assert_close(ours[2], plain[2], rtol=0, atol=1e-3 * float(ours[2].max()))


@torch.no_grad()
def test_a_cell_and_its_document(tmp_path, monkeypatch):
    record = bench.measure_cell(17, 64, rounds=1, budget=0.1) | {"side": 255, "paper": 1.1, "over the paper": 9.0, "load_average": 1.0}
    assert set(record["parts"]) == {*bench.PARTS, "rest"} and min(record["parts"].values()) >= 0
    assert record["parts"]["features"] > 0 and record["over plain torch"] > 0
    monkeypatch.setattr(bench, "DOCUMENT", tmp_path / "speed.md")
    data = {**bench.measure.metadata(), "records": [record]}
    bench.write_document(data)
    text = bench.DOCUMENT.read_text()
    bench.write_document(data)
    assert (
        bench.DOCUMENT.read_text() == text
        and "(1.1: 9x)" in text
        and text.count(f"<!-- {bench.SECTION} -->") == text.count(f"<!-- /{bench.SECTION} -->") == 1
    )
