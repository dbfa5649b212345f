"""A small folder of synthetic photographs: blobs and edges with enough gradient."""
import numpy as np
import pytest
from PIL import Image


def write_photographs(folder, count=4, size=(120, 150)):
    random = np.random.default_rng(0)
    for i in range(count):
        field = random.random((size[0] // 6, size[1] // 6))
        image = (np.kron(field, np.ones((6, 6))) * 255).astype(np.uint8)
        Image.fromarray(image).save(folder / f"photo{i}.png")


@pytest.fixture
def photographs(tmp_path):
    folder = tmp_path / "photographs"
    (folder / "sub").mkdir(parents=True)
    write_photographs(folder)
    write_photographs(folder / "sub", 2)
    (folder / "notes.txt").write_text("no picture")
    return folder
