"""Inverse dynamics, trained once for all tests that act through it."""

import pytest

from vidbench.worldmodel.inverse import InverseConfig
from vidbench.worldmodel.plan.contest import quick_inverse


@pytest.fixture(scope="session")
def inverse():
    """Trained on 512 training rooms for 150 steps: about 6 CPU-seconds."""
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'vidbench[worldmodel]'")

    torch.set_num_threads(1)
    return quick_inverse(0, config=InverseConfig(steps=150))[0]
