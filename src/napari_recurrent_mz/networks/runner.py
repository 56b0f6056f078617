"""A network on a device, in its fastest form there; its memory of scans, and how windows meet."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import product

import torch
from torch import nn

from ..core.device import Device, available_cores, choose_device, on_one_core
from ..core.progress import check_stopped
from .architectures import Network, build
from .fast import FastNetwork, Precision
from .inputs import Prepared
from .recurrent_mz import NetworkConfig, RecurrentMZ, State
from .weights import Model

_log = logging.getLogger(__name__)

_WINDOW = 96
_SCANS = 2
_CLEAR_SPEEDUP = 1.2
"""How many times faster a less promising form must be: times of a moment scatter."""

_LARGEST_DEVIATION = {False: 1e-4, True: 5e-2}
"""Largest root-mean-square deviation of a form on noise, of the range: it is broken beyond."""


@dataclass(frozen=True)
class Form:
    """How a network runs: ``fast`` or plain, in ``half`` precision or in single."""

    fast: bool
    half: bool

    @property
    def words(self) -> str:
        """Name of the form for a person."""
        return f"{'fast' if self.fast else 'plain'}, {'half' if self.half else 'single'} precision"


class Runner:
    """A model's network on a device, in one form; ``dtype`` is that of the states it remembers."""

    def __init__(self, model: Model, device: Device, form: Form) -> None:
        self.form, self.device = form, device
        self.config: NetworkConfig = model.network.config
        plain = network_on(model, device)
        self._network: Network | FastNetwork = plain
        self.dtype = torch.bfloat16 if form.half else torch.float32
        if form.fast:
            assert isinstance(plain, RecurrentMZ)  # the others have no fast form
            precision = Precision.of(device.kind, half=form.half)
            self._network, self.dtype = FastNetwork(plain, precision), precision.features

    def __call__(self, inputs: Prepared) -> torch.Tensor:
        """The image (N, 1, H, W) of the target planes."""
        with self._mode():
            return self._network(*inputs)

    def continue_from(self, state: State | None, inputs: Prepared) -> tuple[torch.Tensor, State]:
        """The image once more scans have come to a state, and the state then."""
        assert isinstance(self._network, RecurrentMZ | FastNetwork)  # the others remember nothing
        with self._mode():
            return self._network.continue_from(state, *inputs)

    def release(self) -> None:
        """Give back what is only kept to be used again."""
        if isinstance(self._network, FastNetwork):
            self._network.release()

    @contextmanager
    def _mode(self) -> Iterator[None]:
        mixed = self.form.half and not self.form.fast
        autocast = torch.autocast(self.device.kind, torch.bfloat16) if mixed else nullcontext()
        with torch.inference_mode(), autocast:
            yield


def end_if_stopped(_layer: nn.Module, _given: object) -> None:
    """What every convolution asks before it begins; a function by name, so that it pickles."""
    check_stopped()


def network_on(model: Model, device: Device) -> Network:
    """The model's network on a device, channels last; the model's own stays on the CPU."""
    if device.kind == "cpu":
        network: Network = model.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for layer in network.modules():  # each of a large image takes long on a CPU
            if isinstance(layer, nn.Conv2d) and not layer._forward_pre_hooks:
                layer.register_forward_pre_hook(end_if_stopped)
        return network
    copy = build(model.network.config).eval()
    copy.load_state_dict(model.network.state_dict())
    return copy.to(device.torch, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def runner_for(
    model: Model, device: Device, *, half: bool | None = None, fast: bool | None = None
) -> Runner:
    """The network in the form that is asked for, or that suits the device best."""
    speeds = (True, False) if type(model.network) is RecurrentMZ else (False,)
    precisions = (True, False) if device.half else (False,)
    every = [Form(*both) for both in product(speeds, precisions)]  # the most promising first
    forms = [form for form in every if fast is None or form.fast == fast]
    fitting = [form for form in forms if half is None or form.half == half]
    if not fitting:  # no fast form of this network, or half precision where there is none
        fitting = [Form(fast=False, half=bool(half) if half is not None else device.half)]
    return Runner(model, device, _best(model, device, tuple(fitting)))


_chosen: dict[tuple[object, ...], Form] = {}


def _best(model: Model, device: Device, forms: tuple[Form, ...]) -> Form:
    """The fastest of some forms that makes the right image."""
    if len(forms) == 1 and not forms[0].fast:
        return forms[0]
    threads = (torch.get_num_threads(), available_cores(), os.environ.get("ONEDNN_MAX_CPU_ISA"))
    key = (model.sha256, device.kind, device.name, forms, threads)
    if key not in _chosen:
        _chosen[key] = _tried(model, device, forms)
    return _chosen[key]


def _tried(model: Model, device: Device, forms: tuple[Form, ...]) -> Form:
    """Try every form on a small window."""
    plain = Form(fast=False, half=forms[0].half)
    if device.kind == "cpu":
        # On one core: threads that wait for each other beside other work would be timed too.
        seconds = on_one_core(lambda: _timed(model, device, forms))
    else:
        seconds = _timed(model, device, forms)
    _log.debug("On %s: %s", device.name, {form.words: s for form, s in seconds.items()})
    quick = _CLEAR_SPEEDUP * min(seconds.values(), default=0.0)
    return next((form for form in seconds if seconds[form] <= quick), plain)


def _timed(model: Model, device: Device, forms: tuple[Form, ...]) -> dict[Form, float]:
    """Seconds of each form that runs and makes the right image."""
    inputs = noise_input(model.network.config, device, (_WINDOW, _WINDOW))
    reference = Runner(model, device, Form(fast=False, half=False))(inputs).float()
    seconds: dict[Form, float] = {}
    for form in forms:
        try:
            runner = Runner(model, device, form)
            if _deviation(runner(inputs), reference) <= _LARGEST_DEVIATION[form.half]:
                seconds[form] = _seconds(lambda: runner(inputs), device)  # noqa: B023
        except (RuntimeError, NotImplementedError) as error:
            _log.info("The form '%s' cannot run on %s: %s", form.words, device.name, error)
    return seconds


def noise_input(config: NetworkConfig, device: Device, shape: tuple[int, int]) -> Prepared:
    """Noise in place of a network's input, for an image of (Y, X) pixels."""
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).to(device.torch)

    def one(channels: int) -> torch.Tensor:
        return noise(1, channels, *shape)

    scans = noise(1, _SCANS, config.input_channels, *shape)
    skip = one(max(config.skip_channels, 1))
    return Prepared(scans, one(1), one(1).abs(), skip, one(config.objects))


def _deviation(result: torch.Tensor, reference: torch.Tensor) -> float:
    """Root-mean-square deviation, of the range; infinite for NaN."""
    spread = (reference.max() - reference.min()).clamp_min(1e-30)
    deviation = float(((result.float() - reference) ** 2).mean().sqrt() / spread)
    return deviation if deviation == deviation else float("inf")


def _seconds(run: Callable[[], torch.Tensor], device: Device) -> float:
    """The shortest of a few runs; on a CPU what this thread computed, whoever else does."""
    clock = time.thread_time if device.kind == "cpu" else time.perf_counter
    seconds = []
    for _ in range(5):
        began = clock()
        run()
        if device.kind == "cuda":
            torch.cuda.synchronize()
        seconds.append(clock() - began)
    return min(seconds)


@dataclass
class Memory:
    """States of the network after the scans so far, for one plane, window by window."""

    place: torch.device  # where it waits until the next scan
    entered: int = 0  # how many scans have been taken in
    tile: int = 0  # size of the windows
    windows: list[State] = field(default_factory=list)  # one state for each

    def known(self, n_scans: int, tile: int) -> int:
        """How many of the first of ``n_scans`` scans need not be seen again."""
        return self.entered if self.tile == tile and self.entered < n_scans else 0

    def forget(self) -> None:
        """Begin again with the first scan."""
        self.keep([], 0, 0)

    def keep(self, windows: list[State], entered: int, tile: int) -> None:
        """Remember a plane once all of its windows are done."""
        self.windows, self.entered, self.tile = windows, entered, tile


def stacked_states(
    memories: Sequence[Memory], number: int, device: torch.device, dtype: torch.dtype
) -> State | None:
    """States of one window of some planes, stacked on the device and in the type of the network."""
    if not memories[0].windows:
        return None
    states = [[h.to(device, dtype) for h in memory.windows[number]] for memory in memories]
    if len(states) == 1:
        return states[0]
    return [torch.cat(levels) for levels in zip(*states, strict=True)]


def split_states(state: State, memories: Sequence[Memory]) -> Iterator[State]:
    """States of a window for each of some planes, moved to where they wait."""
    if len(memories) == 1:
        yield [h.to(memories[0].place) for h in state]
        return
    for number, memory in enumerate(memories):  # copies, that one goes without the others
        yield [h[number : number + 1].to(memory.place, copy=True) for h in state]


LARGEST = 256
"""Pixels that neighbouring windows share at most, whatever a network sees beyond."""

ALIGN = 16
"""Windows start where the pooling grid of the whole image does: a multiple of this or more."""

_TOLERANCE = 5e-6
"""Largest deviation from the whole image, of its range: half of what is promised."""

_ROWS = (256, 512, 1024)  # of the images that are tried, cut across the middle
_COLUMNS = 128
_COARSE = 8  # pixels of the larger structure that a network is tried on
_overlaps: dict[str, int] = {}


def alignment(model: Model) -> int:
    """Pixels between the places where the windows of a model may start."""
    return max(ALIGN, int(2 ** (model.network.config.levels - 1)))


def overlap_of(model: Model) -> int:
    """Pixels that a window reads beyond what is kept of it, tried once for a network's weights."""
    if model.sha256 not in _overlaps:
        _overlaps[model.sha256] = _measured(model)
    return _overlaps[model.sha256]


def _measured(model: Model) -> int:
    device, begin = choose_device("cpu"), 0
    plain = Runner(model, device, Form(fast=False, half=False))
    for rows in _ROWS:
        noise = noise_input(plain.config, device, (rows, _COLUMNS))
        noise.scans[:, :, 1] = noise.scans[:, :, 1, :1, :1]  # distances, even for a plane
        wholes = [(image, plain(image)) for image in (noise, _coarse(noise))]
        step = max(alignment(model), rows // 32)
        for overlap in range(begin + step, rows // 4 + 1, step):
            if all(_seam(plain, image, whole, overlap) <= _TOLERANCE for image, whole in wholes):
                return min(overlap + alignment(model), LARGEST)
        begin = rows // 4
    return LARGEST


def _coarse(noise: Prepared) -> Prepared:
    """Brighter noise of larger grains, as of what is out of focus."""

    def larger(part: torch.Tensor) -> torch.Tensor:
        grains = 3 * part[..., ::_COARSE, ::_COARSE]
        return grains.repeat_interleave(_COARSE, -2).repeat_interleave(_COARSE, -1)

    return Prepared(*map(larger, noise))


def _seam(plain: Runner, image: Prepared, whole: torch.Tensor, overlap: int) -> float:
    """How far the two halves of an image, made apart, are from the whole: of its range."""
    middle = whole.shape[-2] // 2
    above = plain(_rows(image, slice(0, middle + overlap)))[..., :middle, :]
    below = plain(_rows(image, slice(middle - overlap, None)))[..., overlap:, :]
    off = (torch.cat([above, below], dim=-2) - whole).abs().max()
    return float(off / (whole.max() - whole.min()))


def _rows(image: Prepared, rows: slice) -> Prepared:
    return Prepared(*(part[..., rows, :] for part in image))
