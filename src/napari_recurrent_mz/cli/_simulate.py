"""``recurrent-mz simulate``: stacks to try things on, and fields to train on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..device import CHOICES
from ..scans import InputError
from . import _common


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "simulate", help="simulate a stack, or fields for training"
    )
    what = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    _add_stack(what)
    _add_fields(what)


def _add_stack(what: Any) -> None:
    parser: argparse.ArgumentParser = what.add_parser(
        "stack",
        help="a wide-field stack (and its confocal counterpart) in a file",
        description="Simulate one sample through one microscope, with camera noise, and write its "
        "stack in camera counts.",
    )
    parser.add_argument(
        "kind",
        metavar="KIND",
        help="beads, neurites, nuclei, worm, tissue, embryo, filaments, membranes, texture, "
        "confocal or mixture",
    )
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="wide-field stack")
    parser.add_argument("--confocal", metavar="FILE", help="the same sample by a confocal")
    parser.add_argument("--size", type=int, default=256, metavar="N", help="pixels on a side")
    parser.add_argument("--n-planes", type=int, default=51, metavar="N", help="default: 51")
    parser.add_argument("--z-step-um", type=float, default=0.2, metavar="X", help="default: 0.2")
    parser.add_argument(
        "--photons", type=float, metavar="X", help="photons in the bright parts: fewer, noisier"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    for option, default, words in (
        ("--na", 1.4, "numerical aperture"),
        ("--wavelength-um", 0.519, "emission wavelength, µm"),
        ("--immersion-index", 1.515, "refractive index"),
        ("--pixel-um", 0.103, "pixel size, µm"),
    ):
        parser.add_argument(
            option, type=float, default=default, metavar="X", help=f"{words} (default: {default})"
        )
    parser.set_defaults(run=run_stack)


def _add_fields(what: Any) -> None:
    parser: argparse.ArgumentParser = what.add_parser(
        "fields",
        help="a folder of fields for recurrent-mz train",
        description="Simulate noise-free fields of random samples through random microscopes. "
        "Fields that are in the folder already are kept, so that a run can be taken up again.",
    )
    parser.add_argument("folder", metavar="FOLDER", help="where the fields go")
    parser.add_argument("--count", type=int, required=True, metavar="N", help="fields in all")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="default: 1")
    parser.add_argument("--size", type=int, default=192, metavar="N", help="pixels on a side")
    parser.add_argument("--n-planes", type=int, default=56, metavar="N", help="default: 56")
    parser.add_argument(
        "--held-out",
        action="store_true",
        help="the fixed set that judges a training: one objective, every kind in turn",
    )
    parser.add_argument(
        "--confocal", action="store_true", help="each field's confocal counterpart beside it"
    )
    parser.add_argument("--device", choices=CHOICES, default="auto", help="default: auto")
    parser.set_defaults(run=run_fields)


def run_stack(arguments: argparse.Namespace) -> None:
    """Simulate a stack and write it."""
    from ..io import check_output, write_volume
    from ..optics import Optics
    from ..simulate import Camera, simulate_sample

    outputs = [arguments.output, *([arguments.confocal] if arguments.confocal else [])]
    for path in outputs:
        check_output(path)
    _at_least(arguments.n_planes, 2, "--n-planes")
    _at_least(arguments.size, 16, "--size")
    optics = Optics(
        na=arguments.na,
        wavelength_um=arguments.wavelength_um,
        immersion_index=arguments.immersion_index,
        pixel_um=arguments.pixel_um,
    )
    if not arguments.z_step_um > 0:
        raise InputError(
            f"The z step {arguments.z_step_um:g} µm is not above 0: correct --z-step-um."
        )
    sample = simulate_sample(
        arguments.kind,
        shape=(arguments.n_planes, arguments.size, arguments.size),
        z_step_um=arguments.z_step_um,
        optics=optics,
        seed=arguments.seed,
        camera=None if arguments.photons is None else Camera(photons=arguments.photons),
    )
    made = {"simulated": sample.kind, "seed": arguments.seed, "optics": optics.as_dict()}
    for path, stack, modality in zip(
        outputs, (sample.widefield, sample.confocal), ("wide-field", "confocal"), strict=False
    ):
        write_volume(path, stack, sample.z_um, optics.pixel_um, {**made, "modality": modality})
        z, y, x = stack.shape
        print(f"{path}: {modality} stack of '{sample.kind}', {z} planes of {y} × {x} pixels")


def run_fields(arguments: argparse.Namespace) -> None:
    """Simulate fields until the folder holds as many as wanted."""
    from ..device import choose_device
    from ..training.fields import PoolConfig, make_fields

    _at_least(arguments.count, 1, "--count")
    _at_least(arguments.size, 64, "--size")
    _at_least(arguments.n_planes, 8, "--n-planes")
    folder = Path(arguments.folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"'{folder}' is a file: name a folder for the fields.")
    config = PoolConfig(
        seed=arguments.seed,
        planes=arguments.n_planes,
        size=arguments.size,
        held_out=arguments.held_out,
        confocal=arguments.confocal,
    )
    device = choose_device(arguments.device).torch
    there = len(list(folder.glob("field_*.json")))
    made = make_fields(config, folder, arguments.count, device=device)
    with _common.Progress("field") as progress:
        try:
            for done, _ in enumerate(made, start=1):
                progress(done, max(arguments.count - there, done))
        except KeyboardInterrupt:
            raise InputError(
                "Stopped: the fields made so far are kept, the same command makes the rest."
            ) from None
    print(f"{folder}: {len(list(folder.glob('field_*.json')))} fields")


def _at_least(value: int, least: int, option: str) -> None:
    if value < least:
        raise InputError(f"{option} is {value}: give at least {least}.")
