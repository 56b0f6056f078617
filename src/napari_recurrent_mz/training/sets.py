"""Sets of scans with all that a network sees of them, and their targets, of any stack of planes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from ..core.arrays import AnyArray, Array
from ..core.device import Device
from ..core.optics import Optics
from ..core.scans import InputError, ScanStack
from ..io import write_whole
from ..networks.inputs import NetworkInputs, Prepared
from ..networks.recurrent_mz import NetworkConfig
from ..simulation.simulate import Camera
from .examples import (
    Batch,
    ExampleConfig,
    View,
    choose_planes,
    choose_targets,
    random_camera,
    with_stage_errors,
)
from .losses import FLOOR

_LARGEST = 6e4  # of what is stored in half precision


@dataclass(frozen=True, eq=False)
class Stack:
    """The planes of one sample, of which some become scans and others targets."""

    images: torch.Tensor | AnyArray  # (Z, Y, X); bright structure is about 1
    truths: torch.Tensor | AnyArray  # (Z, Y, X): what a network is to make
    z_um: Array  # (Z,), as the network is told, as are the optics
    optics: Optics
    step_dof: float  # between planes, in depths of field
    counted: bool = False  # whether the images are counts of a camera, the truths as well

    def draw(self, config: ExampleConfig, count: int, rng: np.random.Generator) -> Take:
        """Random scans, in random order, and targets."""
        planes, dof_um = len(self.z_um), self.optics.depth_of_field_um
        chosen, spacing = choose_planes(rng, planes, self.step_dof, count, config)
        order = rng.permutation(chosen)
        heights = self.z_um[order]
        if not self.counted:
            heights = with_stage_errors(heights, rng, config.stage_error_dof, dof_um)
        targets = choose_targets(rng, chosen, spacing, planes, config)
        return Take(order, heights, targets, None if self.counted else random_camera(rng, config))


class Take(NamedTuple):
    """What is taken of a stack."""

    scans: npt.NDArray[np.int64]  # (M,), planes in the order in which they enter
    z_um: Array  # (M,), heights that the network is told
    targets: npt.NDArray[np.int64]  # (T,), planes
    camera: Camera | None  # that takes the scans; None where a camera has


def _planes(
    stack: torch.Tensor | AnyArray, numbers: npt.NDArray[np.int64], device: torch.device
) -> torch.Tensor:
    if isinstance(stack, torch.Tensor):
        return stack[torch.from_numpy(numbers).to(device)]
    return torch.from_numpy(np.array(stack[numbers], dtype=np.float32)).to(device)


@dataclass(frozen=True, eq=False)
class Sets:
    """B sets of M scans and T targets; in half precision unless said otherwise."""

    images: torch.Tensor  # (B, M, H, W), as the network sees them
    carried: torch.Tensor  # (B, T, M, H, W), carried to each target, as the network sees them
    # (B, T, 3 + E, H, W): the linear estimate as the network sees it; the unit of corrections, over
    # base; over the unit, what the first object adds, what is missing of the truth, and what the
    # other objects add.
    planes: torch.Tensor
    misfit: torch.Tensor  # (B, E, H, W), what each object leaves unexplained, over base
    distance: torch.Tensor  # float32, (B, T, M)
    scale: torch.Tensor  # float32, (B, 3): base; middle and contrast, by which images are seen

    def tensors(self) -> dict[str, torch.Tensor]:
        """All of them by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def to(self, device: torch.device) -> Sets:
        """The same on another device."""
        return Sets(**{name: value.to(device) for name, value in self.tensors().items()})

    def examples(
        self,
        config: NetworkConfig,
        index: torch.Tensor,
        target: torch.Tensor,
        view: View,
        *,
        whole: bool = False,
    ) -> Batch:
        """Examples of sets and targets (N,): corrections of the linear estimate, or ``whole``."""
        at = (slice(None), *view.window)
        images = view.of(self.images[(index, *at)]).float()
        carried = view.of(self.carried[(index, target, *at)]).float()
        planes = view.of(self.planes[(index, target, *at)]).float()
        misfit = view.of(self.misfit[(index, *at)]).float()
        distance = self.distance[index, target]
        order = view.entering(distance)
        if order is not None:
            distance = distance.take_along_dim(order, 1)
            images, carried = (
                v.take_along_dim(order[..., None, None], 1) for v in (images, carried)
            )
        base, middle, contrast = (
            column[:, None, None, None] for column in self.scale[index].unbind(1)
        )
        seen, unit, first, residual, *others = torch.split(planes, 1, dim=1)
        extras = [first, *others][: config.objects]
        # Sets with points serve networks without, too: these see the first object alone.
        beside = [
            channel
            for extra, left in zip(extras, torch.split(misfit, 1, dim=1), strict=False)
            for channel in (extra.asinh(), (left / unit).asinh())
        ]
        linear, floor = torch.zeros_like(unit), torch.full_like(base, FLOOR).flatten()
        if config.correction and not whole:
            floor = floor / base.flatten() ** 2
        else:
            linear, unit = seen.sinh() * contrast + middle, unit * base
        if config.contrast == "linear":
            images, carried = (v.sinh() * contrast + middle for v in (images, carried))
            seen = seen.sinh() * contrast + middle
        dpm = distance[..., None, None].expand_as(images)
        channels = [images, dpm, carried] if config.propagated_input else [images, dpm]
        inputs = Prepared(
            torch.stack(channels, dim=2),
            linear,
            unit,
            torch.cat([seen, *beside], dim=1),
            torch.cat([first[:, :0], *extras], dim=1) * unit,
        )
        inputs = inputs.faded(distance[..., None, None], config)
        return Batch(inputs, linear + residual * unit, linear, floor)


def making_device(device: Device) -> torch.device:
    """Where sets are made for what runs on a device: an Apple GPU lacks some of the operations."""
    return torch.device("cuda" if device.kind == "cuda" else "cpu")


def make_sets(
    stacks: Sequence[Stack],
    takes: Sequence[Take],
    network: NetworkConfig,
    device: torch.device,
    generator: torch.Generator,
) -> Sets:
    """One set of scans of each stack, seen through the same optics; as many scans of each."""
    every = NetworkConfig(  # all that any network sees
        nonnegative=network.nonnegative,
        points=network.points,
        target=network.target,
        dpm_unit_dof=network.dpm_unit_dof,
    )
    sets = [
        _one_set(stack, take, every, device, generator).tensors()
        for stack, take in zip(stacks, takes, strict=True)
    ]
    return Sets(**{name: torch.stack([one[name] for one in sets]) for name in sets[0]})


def _one_set(
    stack: Stack,
    take: Take,
    network: NetworkConfig,
    device: torch.device,
    generator: torch.Generator,
) -> Sets:
    """One set of scans, without the axis of sets."""
    optics, camera, target_z = stack.optics, take.camera, stack.z_um[take.targets]
    seen = _planes(stack.images, take.scans, device)
    counts = seen if camera is None else camera.expose(seen, generator)
    top = max(float(take.z_um.max()), float(target_z.max()))
    scans = ScanStack(counts.cpu().numpy(), take.z_um)
    inputs = NetworkInputs(scans, optics, network, reach_um=(0.0, top), device=device)
    given, scale = inputs.at(target_z), inputs.scale
    linear, unit = given.linear[:, 0], given.unit[:, 0]
    extras, misfits = list(given.extra.unbind(1)), inputs.residuals_rms
    if not extras:
        extras, misfits = [torch.zeros_like(linear)], [torch.zeros_like(linear[0])]
    signal, size = _planes(stack.truths, take.targets, device), scale.normalisation.scale
    if network.target == "confocal" and camera is not None:
        # How much of a confocal stack's light is background the scans cannot tell: its zero is
        # put where the estimates have it, so that only the structure is left to learn.
        truth = signal * (camera.photons * camera.gain / size)
        truth = truth + (linear + extras[0] - truth).mean(dim=(1, 2), keepdim=True)
    else:
        noiseless = signal if camera is None else camera.noiseless(signal)
        truth = (noiseless - scale.normalisation.shift) / size
    base = unit.mean().clamp_min(1e-6)
    first, *others = (extra / unit for extra in extras)
    stored = [given.skip[:, 0], unit / base, first, (truth - linear) / unit, *others]
    return Sets(
        _half(given.scans[0, :, 0]),
        _half(given.scans[:, :, 2]),
        _half(torch.stack(stored, dim=1)),
        _half(torch.stack(misfits) / base),
        given.scans[:, :, 1, 0, 0],
        torch.stack([base, *base.new_tensor([scale.middle, scale.contrast])]),
    )


def _half(values: torch.Tensor) -> torch.Tensor:
    return values.clamp(-_LARGEST, _LARGEST).half()


def write_sets(path: Path, every: Sequence[Sets]) -> None:
    """Write some sets, whole or not at all."""
    tensors = {
        f"{n}.{name}": value.contiguous().cpu()
        for n, sets in enumerate(every)
        for name, value in sets.tensors().items()
    }
    write_whole(path, lambda part: part.write_bytes(save(tensors)))


def read_sets(path: Path) -> list[Sets]:
    """The sets of a file."""
    try:
        tensors = load_file(path)
        for key, value in tensors.items():
            if key.endswith("misfit") and value.ndim == 3:  # of one object, as it was written once
                tensors[key] = value[:, None]
        count = 1 + max(int(key.split(".")[0]) for key in tensors)
        return [
            Sets(**{k.split(".")[1]: v for k, v in tensors.items() if k.startswith(f"{n}.")})
            for n in range(count)
        ]
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise InputError(
            f"'{path}' is damaged: delete it, and the same command makes it again."
        ) from error
