"""The way of a GPU, on machines that have none: see ``elsewhere.py``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils import backend_registration

pytestmark = pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this PyTorch cannot pretend to have another device",
)
HERE = Path(__file__).parent


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], cwd=HERE, capture_output=True, text=True, timeout=200
    )


def test_another_device_makes_the_same_images() -> None:
    """And nothing that is here is computed with what is there."""
    done = _run("elsewhere.py")
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]


def test_what_is_here_cannot_be_computed_with_what_is_there() -> None:
    """Else the test above would see nothing."""
    done = _run(
        "-c",
        "import torch, elsewhere\n"
        "with elsewhere.Watch():\n"
        "    there = torch.ones(2).to(elsewhere.THERE)\n"
        "    print(tuple((there + 1).shape), flush=True)\n"
        "    there + torch.ones(2)\n",
    )
    assert done.stdout == "(2,)\n"
    assert "what is elsewhere meets what is here ((2,))" in done.stderr
