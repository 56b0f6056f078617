"""``recurrent-mz evaluate``: a fully sampled stack against what methods make of some planes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from ..core.errors import InputError
from ..core.methods import METHODS
from ..io import ImageFile, scatter_note, stack_heights, write_json
from ._common import (
    OF_CHANNELS,
    ChannelOptics,
    Fields,
    NetworkOptions,
    OneChannel,
    Planes,
    check_json,
    load_scans,
)
from ._options import Argument, Option, Written
from ._terminal import Progress, note

if TYPE_CHECKING:
    from ..measure.evaluation import Evaluation

_ALIKE = 0.01  # sizes that differ by less are those of one field


def evaluate(
    *,
    stack: Annotated[str, Argument("the fully sampled stack", "STACK")],
    files: Annotated[Fields, OF_CHANNELS],
    planes: Planes = None,
    optics: ChannelOptics,
    methods: Annotated[
        str | None,
        Option(
            f"any of {', '.join(METHODS)} (default: recurrent-mz,lmmse,linear; with --reference "
            "recurrent-mz-plus,lmmse-plus)",
            "A,B,...",
        ),
    ] = None,
    reference: Annotated[
        str | None,
        Option(
            "compare with this stack of the same planes instead, such as a confocal one; each "
            "volume, and the whole of STACK, is first scaled to it by one gain and one offset"
        ),
    ] = None,
    network: NetworkOptions,
    json: Annotated[str | None, Written("write the values of every plane to this file")] = None,
) -> None:
    """Compare methods on a fully sampled stack.

    Rebuild a fully sampled stack from some of its planes and compare with the rest: one row a
    method. PSNR over the range from the stack's background to its 99.9th percentile, NRMSE in
    percent of each truth plane's span, SSIM; the input planes are left out, and nothing is
    rescaled to fit.
    """
    from ..measure.evaluation import CONFOCAL_METHODS, DEFAULT_METHODS

    check_json(json)
    usual = CONFOCAL_METHODS if reference else DEFAULT_METHODS
    chosen = list(usual) if methods is None else [name.strip() for name in methods.split(",")]
    chosen = [name for name in chosen if name]
    settings = {"methods": chosen, "model": network.model, "device": network.device}
    jobs = [  # all of them are read before one is compared
        (channel.name, *_read(stack, reference, channel, files, planes, optics, chosen))
        for channel in files.channels(stack)
    ]
    records: dict[str, Any] = {}
    for channel, image, compare in jobs:
        with Progress("plane") as progress:
            comparison = compare(planes=planes, on_progress=progress, **settings)
        about = {
            "stack": image.name,
            "reference": reference and Path(reference).name,
            "region": files.region,
        }
        records[channel] = about | comparison.as_dict()
        print(f"{channel}\n{comparison.table()}" if channel else comparison.table())
    if json:
        write_json(json, records.get("", {"channels": records}))


def _read(
    stack: str,
    reference: str | None,
    channel: OneChannel,
    files: Fields,
    planes: Sequence[int] | None,
    optics: ChannelOptics,
    methods: Sequence[str],
) -> tuple[ImageFile, Callable[..., Evaluation]]:
    """One channel, checked as for a reconstruction, and what compares it."""
    from ..engine.check import fault_notes, saturation_notes
    from ..measure.evaluation import evaluate

    image = files.read(stack, channel=channel)
    scans = load_scans([image], None, planes, files.z_step_um)
    heights = stack_heights(image, files.z_step_um)
    resolved = optics.of_channel(channel).of([image], methods)[0]
    notes = saturation_notes(scans) + scatter_note(heights, f"'{image.name}'")
    note(*notes, *chain(*fault_notes(scans, resolved, planes)))
    compare = partial(evaluate, image.stack, heights, optics=resolved)
    if not reference:
        return image, partial(compare, names=(f"'{image.name}'", ""))
    other = files.read(reference, channel=channel)
    _check_same_planes(image, other)
    names = f"'{image.name}'", f"'{other.name}'"
    return image, partial(compare, reference=other.stack, names=names)


def _check_same_planes(image: ImageFile, other: ImageFile) -> None:
    """Raise where two files state different fields or steps; where z is 0 is a microscope's own."""
    half = 0.5 * (image.pixel_um or 0.0)
    for words, ours, theirs, relative, absolute in (
        ("first pixel (y, x)", image.origin_um, other.origin_um, 0.0, half),
        ("pixel size", image.pixel_um, other.pixel_um, _ALIKE, 0.0),
        ("mean z step", _step_um(image), _step_um(other), _ALIKE, 0.0),
    ):
        if ours is None or theirs is None or np.allclose(ours, theirs, relative, absolute):
            continue
        values = [", ".join(f"{value:.4g}" for value in np.ravel(one)) for one in (ours, theirs)]
        raise InputError(
            f"The {words} of '{image.name}' is {values[0]} µm but that of '{other.name}' "
            f"{values[1]} µm: give a stack of the same planes, as recurrent-mz prepare register "
            "makes one."
        )


def _step_um(image: ImageFile) -> float | None:
    heights = image.z_um
    return None if heights is None or len(heights) < 2 else float(np.diff(heights).mean())
