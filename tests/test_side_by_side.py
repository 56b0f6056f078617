"""Threads that each take one core."""

from __future__ import annotations

import torch

from napari_recurrent_mz.core.device import one_core_each


def cores_of_large_work(_: int) -> int:
    """What a thread takes once it has shared an operation out: the first one asks anew."""
    torch.fft.rfft2(torch.ones(256, 256))
    torch.ones(10**6).exp_()
    return torch.get_num_threads()


def test_each_thread_stays_on_one_core_and_the_caller_on_its_own() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        with one_core_each(4) as pool:
            assert set(pool.map(cores_of_large_work, range(16))) == {1}
            assert cores_of_large_work(0) == 3
    finally:
        torch.set_num_threads(before)
