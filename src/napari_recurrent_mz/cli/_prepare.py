"""``recurrent-mz prepare``: raw stacks as the paper prepares them, in files."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..scans import InputError
from . import _common

if TYPE_CHECKING:
    from ..io import ImageFile
    from ..preparation import Alignment, Place
    from ..progress import Steps, T

_TRANSFORMS = ("translation", "rigid", "affine")
_REFERENCES = ("previous", "first", "mean")

_EXAMPLES = """examples:
  recurrent-mz prepare align STACK.tif -o aligned.ome.tif --csv shifts.csv
  recurrent-mz prepare align A.tif B.tif C.tif --z 3 6 9 -o FOLDER
  recurrent-mz prepare normalise STACK.tif -o normalised.ome.tif --figure histogram.svg
  recurrent-mz prepare register WIDEFIELD.tif CONFOCAL.tif -o confocal-registered.ome.tif
"""


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "prepare",
        help="align, extend the depth of field, normalise, register",
        description="Prepare raw stacks as the paper does (Huang et al. 2021, Methods).",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    tasks = parser.add_subparsers(dest="task", required=True, metavar="TASK")
    _add_align(tasks)
    _add_edf(tasks)
    _add_normalise(tasks)
    _add_register(tasks)


def _add_align(tasks: Any) -> None:
    parser = _task(
        tasks,
        "align",
        "correct lateral shift and rotation between planes or scans",
        "Align the planes of a stack, or single images, by pyStackReg.",
        run_align,
        "one stack, or single images",
        nargs="+",
    )
    parser.add_argument(
        "--z", type=float, nargs="+", metavar="X", help="height of each single image, µm"
    )
    _add_transform(parser, "rigid")
    parser.add_argument(
        "--reference",
        choices=_REFERENCES,
        default="previous",
        help="what each plane is aligned to (default: previous)",
    )
    parser.add_argument(
        "--no-band-pass",
        action="store_true",
        help="compare the planes as they are, haze and noise too, as StackReg does",
    )
    _add_crop(parser, "all planes show")
    parser.add_argument("--csv", metavar="FILE", help="write shift and rotation of every plane")
    _add_figure(parser, "the shifts and rotations over z")


def _add_edf(tasks: Any) -> None:
    parser = _task(
        tasks,
        "edf",
        "the extended-depth-of-field image of a stack",
        "Make one image in which everything is in focus (Forster et al. 2004).",
        run_edf,
        "the stack",
    )
    parser.add_argument(
        "--heights", metavar="FILE", help="write the height, µm, that each pixel was taken from"
    )


def _add_normalise(tasks: Any) -> None:
    parser = _task(
        tasks,
        "normalise",
        "background to 0, 99th percentile of the foreground to 1",
        "Normalise a stack by the triangle threshold of its extended-depth-of-field image.",
        run_normalise,
        "the stack",
    )
    parser.add_argument("--edf", metavar="FILE", help="take this image instead of making one")
    parser.add_argument("--json", metavar="FILE", help="write the numbers")
    _add_figure(parser, "the histogram with the numbers")


def _add_register(tasks: Any) -> None:
    parser = _task(
        tasks,
        "register",
        "a confocal stack onto the grid of a wide-field stack",
        "Register a confocal stack to a wide-field stack of the same field, laterally by the "
        "maximum projections, axially by the correlation of the volumes, and resample it to the "
        "wide-field grid.",
        run_register,
        "the wide-field stack",
        metavar="WIDEFIELD",
    )
    parser.add_argument("confocal", metavar="CONFOCAL", help="the confocal stack")
    for option, words in (
        ("--confocal-pixel-um", "pixel size"),
        ("--confocal-z-step-um", "z step"),
    ):
        parser.add_argument(
            option, type=float, metavar="X", help=f"{words} of the confocal stack, µm"
        )
    _add_transform(parser, "affine")
    _add_crop(parser, "both stacks show")
    parser.add_argument("--json", metavar="FILE", help="write the parameters found")
    _add_figure(parser, "the correlation over the axial shift")


def _task(
    tasks: Any, name: str, words: str, about: str, run: Any, files: str, **options: Any
) -> argparse.ArgumentParser:
    """A task with what all of them share."""
    parser: argparse.ArgumentParser = tasks.add_parser(name, help=words, description=about)
    parser.add_argument("files", **{"metavar": "FILE", "help": files} | options)
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="FILE",
        help="result: .ome.tif or .ome.zarr (a folder for several single images)",
    )
    parser.add_argument(
        "--z-step-um", type=float, metavar="X", help="distance between planes, µm, if not in FILE"
    )
    _common.add_position_option(parser)
    _common.add_optics_options(parser)
    parser.set_defaults(run=run)
    return parser


def _add_transform(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "--transform",
        choices=_TRANSFORMS,
        default=default,
        help="what may differ: shift; shift and rotation; scale and shear, too "
        f"(default: {default})",
    )


def _add_crop(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument(
        "--crop", action="store_true", help=f"keep only the field that {what}, with no filled edge"
    )


def _add_figure(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--figure", metavar="FILE", help=f"draw {what}: .png, .svg or .pdf")


def run_align(arguments: argparse.Namespace) -> None:
    """Align and write a stack, or several single images."""
    from ..io import write_table
    from ..plots import save_figure
    from ..plots.preparation import drift_figure
    from ..preparation import aligning, applying

    _check_extra(arguments.csv, arguments.figure)
    images = [_common.read(arguments, path) for path in arguments.files]
    outputs = _outputs(arguments, images)
    about = _About(arguments, images)
    planes, names, sources, kept = _planes_in_order(arguments, images)
    found = _finish(
        aligning(
            planes,
            transform=arguments.transform,
            reference=arguments.reference,
            band_pass=not arguments.no_band_pass,
            names=names,
        )
    )
    region = found.common_region
    moved = _finish(applying(planes, found, region if arguments.crop else None))
    made = {
        "task": "align",
        **found.as_dict(),
        "common_region": _region_text(region),
        "cropped": bool(arguments.crop),
    }
    if len(images) == 1:
        about.write(outputs[0], moved, kept, made)
    else:
        for i, file in enumerate(sources):
            about.write(outputs[file], moved[i : i + 1], kept[i : i + 1], made, images[file])
    table = found.table(kept, about.pixel_um)
    if arguments.csv:
        table.insert(0, "file", [images[file].name for file in sources])
        write_table(arguments.csv, table)
    if arguments.figure:
        save_figure(drift_figure(found, kept, about.pixel_um), arguments.figure)
    print(_align_lines(arguments.output, found, table, region))


def run_edf(arguments: argparse.Namespace) -> None:
    """Make and write the image, and its heights on request."""
    from ..io import check_output
    from ..preparation import extending_focus

    for path in (arguments.output, arguments.heights):
        if path:
            check_output(path, [arguments.files])
    image = _common.read(arguments, arguments.files)
    about = _About(arguments, [image])
    stack, heights = _common.rising(image, arguments.z_step_um)
    found = _finish(extending_focus(stack, name=image.name))
    made = {"task": "edf", "source": image.name, "planes": image.n_planes}
    middle = heights[[0, -1]].mean(keepdims=True)
    about.write(arguments.output, found.image[None], middle, made)
    if arguments.heights:
        told = made | {"holds": "height of each pixel in micrometres"}
        about.write(arguments.heights, found.height_um(heights)[None], middle, told)
    y, x = found.image.shape
    print(f"{arguments.output}: {y} × {x} pixels in focus, from {image.n_planes} planes")


def run_normalise(arguments: argparse.Namespace) -> None:
    """Measure, write the normalised stack, print the numbers."""
    from ..io import check_output, read_image
    from ..plots import save_figure
    from ..plots.preparation import edf_histogram_figure
    from ..preparation import extending_focus
    from ..prepare import edf_normalisation

    given = [arguments.files, *([arguments.edf] if arguments.edf else [])]
    check_output(arguments.output, given)
    _check_extra(arguments.json, arguments.figure)
    image = _common.read(arguments, arguments.files)
    about = _About(arguments, [image])
    stack, heights = _common.rising(image, arguments.z_step_um)
    if arguments.edf:
        source = read_image(arguments.edf)
        edf, name = source.data, source.name
    else:
        edf = _finish(extending_focus(stack, name=image.name)).image
        name = f"the EDF of {image.name}"
    found = edf_normalisation(edf, name)
    made = {"task": "normalise", "edf": name, **found.as_dict()}
    about.write(arguments.output, found.normalisation.apply(stack), heights, made)
    if arguments.json:
        _common.write_json(arguments.json, made)
    if arguments.figure:
        save_figure(edf_histogram_figure(edf, found), arguments.figure)
    print(
        f"{arguments.output}: background mean {found.background:.6g} is 0, foreground P99 "
        f"{found.p99:.6g} is 1 (triangle threshold {found.threshold:.6g}, "
        f"{found.foreground_share:.1%} foreground)"
    )


def run_register(arguments: argparse.Namespace) -> None:
    """Register, resample, write, and say what was found."""
    import numpy as np

    from ..io import check_output
    from ..plots import save_figure
    from ..plots.preparation import registration_figure
    from ..preparation import Place, registering, resampling

    check_output(arguments.output, [arguments.files, arguments.confocal])
    _check_extra(arguments.json, arguments.figure)
    wide = _common.read(arguments, arguments.files)
    confocal = _common.read(arguments, arguments.confocal)
    about = _About(arguments, [wide])
    stack, heights = _common.rising(wide, arguments.z_step_um)
    other, place = _confocal(arguments, confocal)
    found = _finish(
        registering(
            stack,
            other,
            Place(heights, about.pixel_um),
            place,
            transform=arguments.transform,
            names=(wide.name, confocal.name),
        )
    )
    made = {
        "task": "register",
        "to": wide.name,
        **found.as_dict(),
        "covered_region": _region_text(found.region),
        "cropped": bool(arguments.crop),
    }
    volume = _finish(resampling(other, found, crop=arguments.crop))
    kept = heights[found.planes] if arguments.crop else heights
    about.write(arguments.output, volume, np.asarray(kept), made, confocal)
    if arguments.json:
        _common.write_json(arguments.json, made)
    if arguments.figure:
        save_figure(registration_figure(found), arguments.figure)
    print(_register_lines(arguments.output, made))


class _About:
    """What the results keep of the files: pixel size, optics, how they were made."""

    def __init__(self, arguments: argparse.Namespace, images: Sequence[ImageFile]) -> None:
        values = _common.optics_values(arguments, images)
        _common.optics_for(False, values, images)
        pixel = values["pixel_um"]
        assert pixel is not None  # optics_for has made sure of it
        self.pixel_um: float = pixel
        self._optics = {name: value for name, value in values.items() if value is not None}
        self._first = images[0]
        given = arguments.files if isinstance(arguments.files, list) else [arguments.files]
        self._inputs = [*given, *filter(None, [getattr(arguments, "confocal", None)])]

    def write(
        self,
        path: str | Path,
        volume: Any,
        z_um: Any,
        made: dict[str, Any],
        source: ImageFile | None = None,
    ) -> None:
        """Write a result with the provenance of its source and one entry more."""
        from ..io import write_volume

        before = dict((source or self._first).provenance)
        steps = [*before.get("prepared", ()), made]
        told = before | {"optics": self._optics, "prepared": steps}
        write_volume(path, volume, z_um, self.pixel_um, told, inputs=self._inputs, keep_type=True)


def _finish(steps: Steps[T]) -> T:
    """Run the steps with a counter on the terminal."""
    from ..preparation import finished

    with _common.Progress("prepare") as bar:
        return finished(steps, lambda step: bar.stage(step.words, step.done, step.total))


def _check_extra(numbers: str | None, figure: str | None) -> None:
    """Refuse what cannot be written before any work is done."""
    from ..plots import ENDINGS

    _common.check_json(numbers)
    _common.check_json(figure)
    if figure and Path(figure).suffix.lower() not in ENDINGS:
        raise InputError(
            f"'{Path(figure).name}' cannot be drawn: end its name in .png, .svg or .pdf."
        )


def _outputs(arguments: argparse.Namespace, images: Sequence[ImageFile]) -> list[Path]:
    """Where each result goes, once it can."""
    from ..io import check_output

    if len(images) == 1:
        return [check_output(arguments.output, arguments.files)]
    folder = Path(arguments.output)
    if not folder.is_dir():
        raise InputError(
            f"'{folder}' is no folder: the {len(images)} aligned images go into one, make it first."
        )
    stems = [image.name.split(".tif")[0].split(".ome")[0] for image in images]
    return [check_output(folder / f"{stem}-aligned.ome.tif", arguments.files) for stem in stems]


def _planes_in_order(
    arguments: argparse.Namespace, images: Sequence[ImageFile]
) -> tuple[Any, list[str], list[int], Any]:
    """The planes from the lowest up, what to call them, their files, and their heights in µm."""
    import numpy as np

    from ..io import scans_from_files, stack_heights

    first = images[0]
    if len(images) == 1:
        if first.n_planes < 2:
            raise InputError(f"'{first.name}' is one plane only: give a stack, or several images.")
        stack, heights = _common.rising(first, arguments.z_step_um)
        numbers = stack_heights(first, arguments.z_step_um).argsort(kind="stable")
        names = [f"Plane {i} of '{first.name}'" for i in numbers]
        return stack, names, [0] * first.n_planes, heights
    heights = np.array([scan.z_um for scan in scans_from_files(images, arguments.z)])
    order = [int(i) for i in heights.argsort(kind="stable")]
    planes = [images[i].stack[0] for i in order]
    return planes, [f"'{images[i].name}'" for i in order], order, heights[order]


def _confocal(arguments: argparse.Namespace, image: ImageFile) -> tuple[Any, Place]:
    """The confocal stack from the lowest plane up, and its place."""
    from ..preparation import Place

    step = arguments.confocal_z_step_um
    stack, heights = _common.rising(image, step, "--confocal-z-step-um")
    pixel = arguments.confocal_pixel_um or image.pixel_um
    if not pixel or pixel < 0:
        why = image.doubts.get("pixel_um")
        raise InputError(
            f"The pixel size of '{image.name}' is not in its metadata{f' ({why})' if why else ''}: "
            "give it in µm with --confocal-pixel-um."
        )
    return stack, Place(heights, pixel)


def _region_text(region: tuple[slice, slice]) -> str:
    """Rows and columns as ``--region`` takes them."""
    return ",".join(f"{part.start}:{part.stop}" for part in region)


def _align_lines(output: str, found: Alignment, table: Any, region: tuple[slice, slice]) -> str:
    y, x = (float(abs(table[f"shift_{axis}_um"]).max()) for axis in "yx")
    before, after = (float(table[f"correlation_{when}"].mean()) for when in ("before", "after"))
    return (
        f"{output}: {len(table)} planes aligned, shifts up to {y:.2f} µm in y and {x:.2f} µm in x, "
        f"rotations up to {abs(found.rotation_deg).max():.2f}°\n"
        f"correlation with the reference {before:.4f} before, {after:.4f} after; field that all "
        f"planes show: --region {_region_text(region)}"
    )


def _register_lines(output: str, made: dict[str, Any]) -> str:
    first, stop = made["covered_planes"]
    before = made["correlation_before"]
    earlier = "none (no overlap)" if before is None else f"{before:.4f}"
    lines = [
        f"{output}: shift z {made['shift_z_um']:+.3f}, y {made['shift_y_um']:+.3f}, "
        f"x {made['shift_x_um']:+.3f} µm, rotation {made['rotation_deg']:+.3f}°, magnification "
        f"{made['magnification']:.4f}",
        f"correlation {earlier} before, {made['correlation_after']:.4f} after; the confocal stack "
        f"covers planes {first} to {stop - 1}, --region {made['covered_region']}",
    ]
    if before is not None and made["correlation_after"] <= before:
        lines.append("the correlation did not rise: the stacks were registered, or do not match")
    return "\n".join(lines)
