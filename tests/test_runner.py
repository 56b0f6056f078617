"""Which form of a network runs: the fastest that makes the right image, or the one asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from napari_recurrent_mz import load_model
from napari_recurrent_mz.core.device import Device, choose_device
from napari_recurrent_mz.core.progress import Stopped, check_stopped, stoppable
from napari_recurrent_mz.networks import runner
from napari_recurrent_mz.networks.runner import Form, Runner, runner_for

SINGLE = replace(choose_device("cpu"), half=False)


@pytest.fixture(autouse=True)
def undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has been tried yet."""
    monkeypatch.setattr(runner, "_chosen", {})


def timed(monkeypatch: pytest.MonkeyPatch, seconds: dict[bool, float]) -> list[int]:
    """Runs take these seconds, fast ones and plain ones; returns a list of a number a trial."""
    tried: list[int] = []
    entering: list[bool] = []
    call = Runner.__call__

    def note(self: Runner, parts: object) -> torch.Tensor:
        entering.append(self.form.fast)
        return call(self, parts)  # type: ignore[arg-type]

    def shortest(_run: object, _device: Device) -> float:
        tried.append(len(tried))
        return seconds[entering[-1]]

    monkeypatch.setattr(Runner, "__call__", note)
    monkeypatch.setattr(runner, "_seconds", shortest)
    return tried


@pytest.mark.parametrize(("seconds", "fast"), [((1.0, 2.0), True), ((2.0, 1.0), False)])
def test_what_is_faster_is_taken_and_tried_once(
    monkeypatch: pytest.MonkeyPatch, seconds: tuple[float, float], fast: bool
) -> None:
    tried = timed(monkeypatch, {True: seconds[0], False: seconds[1]})
    assert runner_for(load_model(), SINGLE).form == Form(fast, half=False)
    runner_for(load_model(), SINGLE)
    assert tried == [0, 1]


@pytest.mark.parametrize(
    ("milliseconds", "words"),
    [
        ((16, 18, 20, 15), "fast, half precision"),
        ((95, 19, 70, 18), "fast, single precision"),  # a CPU without bfloat16, a busy moment
        ((95, 40, 70, 18), "plain, single precision"),
    ],
)
def test_a_less_promising_form_has_to_be_clearly_faster(
    monkeypatch: pytest.MonkeyPatch, milliseconds: tuple[int, ...], words: str
) -> None:
    def measured(_model: object, _device: Device, forms: tuple[Form, ...]) -> dict[Form, int]:
        return dict(zip(forms, milliseconds, strict=True))

    monkeypatch.setattr(runner, "_timed", measured)
    assert runner_for(load_model(), replace(SINGLE, half=True)).form.words == words


def test_a_trial_ends_when_somebody_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(*_: object) -> dict[Form, float]:
        while True:
            check_stopped()

    monkeypatch.setattr(runner, "_timed", endless)
    asked = iter([False, False])
    with pytest.raises(Stopped), stoppable(lambda: next(asked, True)):
        runner_for(load_model(), SINGLE)


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("half", [True, False])
def test_what_is_asked_for_is_done(fast: bool, half: bool) -> None:
    device = choose_device("cpu")
    if half and not device.half:
        pytest.skip("this CPU has no bfloat16")
    assert runner_for(load_model(), device, half=half, fast=fast).form == Form(fast, half)


@pytest.mark.parametrize("broken", ["another image", "not a number", "no such operation"])
def test_a_form_that_does_not_work_here_is_left_out(
    monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    call = runner.FastNetwork.__call__

    def wrong(self: object, *parts: torch.Tensor) -> torch.Tensor:
        if broken == "no such operation":
            raise RuntimeError("could not create a primitive")
        made = call(self, *parts)  # type: ignore[arg-type]
        return made * (float("nan") if broken == "not a number" else 1.1)

    monkeypatch.setattr(runner.FastNetwork, "__call__", wrong)
    assert not runner_for(load_model(), SINGLE).form.fast
    assert not runner_for(load_model(), SINGLE, fast=True).form.fast


def test_a_network_without_a_fast_form_runs_as_it_is() -> None:
    assert runner_for(load_model("deep-z"), SINGLE).form == Form(fast=False, half=False)
    assert runner_for(load_model("deep-z"), SINGLE, fast=True).form == Form(fast=False, half=False)
