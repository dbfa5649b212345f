"""A test photograph."""
import numpy as np
import pytest


@pytest.fixture
def photo():
    """Soft edges, uint8 [24, 32, 3]."""
    y, x = np.mgrid[:24, :32]
    return np.stack([128 + 100 * np.sin(x / 4 + c) * np.cos(y / 5) for c in range(3)], 2).astype(np.uint8)
