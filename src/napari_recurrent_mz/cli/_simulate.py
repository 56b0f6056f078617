"""Simulate a stack, or fields or examples for training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from ..core.device import choose_device
from ..core.errors import size_in_words
from ..core.optics import Optics
from ..core.progress import expected_in_words, listening
from ..core.scans import InputError, counted
from ..io import check_disk, check_output, disk_bytes, write_volume
from ._common import OUTPUT, DeviceChoice
from ._options import Argument, Option, Written
from ._terminal import Progress, note

_MUCH = 1e9  # bytes of memory: from here on, it is told before it is taken

Size = Annotated[int, Option("pixels on a side")]
Count = Annotated[int, Option("planes")]
Seed = Annotated[int, Option("seed of the random numbers; the same one makes the same samples")]


def stack(
    *,
    kind: Annotated[
        str,
        Argument(
            "beads, neurites, nuclei, worm, tissue, embryo, filaments, membranes, texture, "
            "confocal or mixture",
            "KIND",
        ),
    ],
    output: Annotated[str, Written("wide-field stack", names=OUTPUT)],
    confocal: Annotated[str | None, Written("also write the sample as a confocal sees it")] = None,
    size: Size = 256,
    n_planes: Count = 51,
    z_step_um: Annotated[float, Option("distance between planes, µm")] = 0.2,
    photons: Annotated[float | None, Option("photons in the bright parts: few are noisy")] = None,
    seed: Seed = 0,
    na: Annotated[float, Option("numerical aperture")] = 1.4,
    wavelength_um: Annotated[float, Option("emission wavelength, µm")] = 0.519,
    immersion_index: Annotated[float, Option("refractive index")] = 1.515,
    pixel_um: Annotated[float, Option("pixel size, µm")] = 0.103,
) -> None:
    """A wide-field stack (and its confocal counterpart) in a file.

    Simulate one sample through one microscope, with camera noise, and write its stack in camera
    counts.
    """
    from ..simulation.simulate import Camera, planned, simulate_sample

    outputs = [path for path in (output, confocal) if path]
    for path in outputs:
        check_output(path)
    _at_least(n_planes, 2, "--n-planes")
    _at_least(size, 16, "--size")
    optics = Optics(na, wavelength_um, immersion_index, pixel_um)
    if not z_step_um > 0:
        raise InputError(f"The z step {z_step_um:g} µm is not above 0: correct --z-step-um.")
    shape = (n_planes, size, size)
    needed = planned(optics, n_planes, size, z_step_um).memory_bytes
    for path in outputs:
        check_disk(Path(path), shape)
    if needed > _MUCH:
        disk = len(outputs) * disk_bytes(shape)
        note(
            f"About {size_in_words(needed)} of memory and up to {size_in_words(disk)} of disk are "
            "needed."
        )
    with Progress("simulating") as progress, listening(progress.stage):
        sample = simulate_sample(
            kind,
            shape=shape,
            z_step_um=z_step_um,
            optics=optics,
            seed=seed,
            camera=None if photons is None else Camera(photons=photons),
        )
    provenance = {"simulated": sample.kind, "seed": seed, "optics": optics.as_dict()}
    for path, pixels, modality in zip(
        outputs, (sample.widefield, sample.confocal), ("wide-field", "confocal"), strict=False
    ):
        write_volume(
            path, pixels, sample.z_um, optics.pixel_um, {**provenance, "modality": modality}
        )
        z, y, x = pixels.shape
        print(f"{path}: {modality} stack of '{sample.kind}', {z} planes of {y} × {x} pixels")


def fields(
    *,
    folder: Annotated[str, Argument("folder for the fields", "FOLDER")],
    count: Annotated[int, Option("number of fields, with those that are there already")],
    seed: Seed = 1,
    size: Size = 192,
    n_planes: Count = 56,
    held_out: Annotated[
        bool, Option("a fixed set to judge a training with: one objective, every kind in turn")
    ] = False,
    confocal: Annotated[bool, Option("also write the confocal counterpart of each field")] = False,
    device: DeviceChoice = "auto",
) -> None:
    """A folder of fields for recurrent-mz train.

    Simulate noise-free fields of random samples through random microscopes. Fields that are in
    the folder already are kept, so that an interrupted run can be continued.
    """
    from ..training.fields import PoolConfig, make_fields

    _at_least(count, 1, "--count")
    _at_least(size, 64, "--size")
    _at_least(n_planes, 8, "--n-planes")
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise InputError(f"'{path}' is a file: name a folder for the fields.")
    config = PoolConfig(seed=seed, planes=n_planes, size=size, held_out=held_out, confocal=confocal)
    existing = len(list(path.glob("field_*.json")))
    steps = make_fields(config, path, count, choose_device(device).torch)
    with Progress("field") as progress:
        try:
            for _ in progress.over(steps, count - existing):
                pass
        except KeyboardInterrupt:
            raise InputError(
                "Stopped: the fields made so far are kept, the same command makes the rest."
            ) from None
    print(f"{path}: {counted(len(list(path.glob('field_*.json'))), 'field')}")


def examples(
    *,
    folder: Annotated[str, Argument("folder for the examples", "FOLDER")],
    groups: Annotated[
        int | None, Option("number of microscopes (default: as many as fit in --examples-gb)")
    ] = None,
    examples_gb: Annotated[float, Option("largest size on disk, with the check", "GB")] = 20.0,
    sets: Annotated[
        str,
        Option(
            "kind of samples: general, beads, worm, plus (confocal-like), or points (beads that "
            "are found as such, for a network with --points)",
            "NAME",
        ),
    ] = "general",
    seed: Seed = 1,
    size: Size = 192,
    n_planes: Count = 52,
    samples: Annotated[int, Option("samples for each microscope")] = 8,
    targets: Annotated[int, Option("target planes for each set of scans")] = 6,
    questions: Annotated[int, Option("questions in the check, a third of them hard")] = 240,
    renew: Annotated[
        bool, Option("then continue until stopped, each new group replacing the oldest")
    ] = False,
    device: DeviceChoice = "auto",
) -> None:
    """A folder of sets of scans for recurrent-mz train --examples.

    Simulate random samples through random microscopes, with aberrations and wrongly stated optics,
    scan them, and keep what a network sees of every set. The check, which chooses the best weights,
    comes first. Groups that are in the folder already are kept. Several processes can work on one
    folder while a training reads it.
    """
    from ..training.folder import Contents, ExampleFolder, room_for
    from ..training.microscopes import SETS

    if sets not in SETS:
        raise InputError(f"--sets is '{sets}': choose one of {', '.join(SETS)}.")
    for value, least, option in (
        (size, 64, "--size"), (n_planes, 12, "--n-planes"), (samples, 1, "--samples"),
        (targets, 1, "--targets"), (questions, 3, "--questions"),
        (1 if groups is None else groups, 1, "--groups"),
    ):  # fmt: skip
        _at_least(value, least, option)
    config = replace(SETS[sets], size=size, planes=n_planes, samples=samples, targets=targets)
    store = ExampleFolder.begin(Path(folder), Contents(config, seed, questions))
    chosen = choose_device(device)
    jobs = store.jobs(room_for(store, examples_gb, groups))
    missing = [job for job in jobs if not job[0].exists()]
    each = samples * len(config.scans)
    print(
        f"{folder}: {len(jobs) - len(missing)} of {len(jobs)} files are there; "
        f"{size_in_words(1e9 * store.expected_gigabytes(jobs))} of disk in all, about "
        f"{size_in_words(1e9 * store.working_gigabytes)} of memory on {chosen.name}; "
        f"{each} sets a group",
        flush=True,
    )
    is_told = False
    with Progress("file") as progress:
        try:
            for done, seconds_left in store.making(missing, chosen.torch, examples_gb):
                if seconds_left is None:
                    continue  # another process makes it
                if not is_told and done < len(missing):
                    is_told = True
                    progress.clear()
                    print(f"{expected_in_words(seconds_left)} for the others", flush=True)
                progress(done, len(missing), seconds_left)
            for number in store.renewing(chosen.torch, examples_gb) if renew else ():
                progress.line(f"group {number}")
        except KeyboardInterrupt:
            raise InputError(
                "Stopped: the examples made so far are kept, the same command makes the rest."
            ) from None
    print(
        f"{folder}: {counted(len(store.groups()), 'group')}, {size_in_words(1e9 * store.gigabytes)}"
    )


def _at_least(value: int, least: int, option: str) -> None:
    if value < least:
        raise InputError(f"{option} is {value}: give at least {least}.")


WHAT = (stack, fields, examples)
