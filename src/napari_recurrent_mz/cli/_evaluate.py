"""``recurrent-mz evaluate``: a fully sampled stack against what methods make of some planes."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ..methods import METHODS, needs_optics
from . import _common


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "evaluate",
        help="compare methods on a fully sampled stack",
        description="Rebuild a fully sampled stack from some of its planes and compare with the "
        "rest: one row a method. PSNR over the range from the stack's background to its 99.9th "
        "percentile, NRMSE in percent of each truth plane's span, SSIM; the input planes are left "
        "out, and nothing is rescaled to fit.",
    )
    parser.add_argument("stack", metavar="STACK", help="the fully sampled stack")
    _common.add_stack_options(parser)
    _common.add_position_option(parser)
    _common.add_region_option(parser)
    _common.add_optics_options(parser)
    parser.add_argument(
        "--methods",
        metavar="A,B,...",
        help=f"of {', '.join(METHODS)} (default: recurrent-mz,lmmse,linear; with --reference "
        "recurrent-mz-plus,lmmse-plus)",
    )
    parser.add_argument(
        "--reference",
        metavar="FILE",
        help="compare with this stack of the same planes instead, for instance by a confocal; "
        "each volume, the whole of STACK included, is first brought to its units by one gain and "
        "one offset",
    )
    _common.add_model_options(parser)
    parser.add_argument("--json", metavar="FILE", help="write every plane's values there")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Read, evaluate, print."""
    from ..evaluation import CONFOCAL_METHODS, DEFAULT_METHODS, evaluate, evaluate_against
    from ..io import scatter_note, stack_heights
    from ..saturation import saturation_notes

    _common.check_json(arguments.json)
    image = _common.cropped(_common.read(arguments, arguments.stack), arguments.region)
    # The same checks, with the same sentences, as for a reconstruction.
    scans = _common.load_scans(
        [image], z_um=None, planes=arguments.planes, z_step_um=arguments.z_step_um
    )
    heights = stack_heights(image, arguments.z_step_um)
    for sentence in saturation_notes(scans) + scatter_note(heights, f"'{image.name}'"):
        _common.note(sentence)
    asked = arguments.methods
    if asked is None:
        asked = ",".join(CONFOCAL_METHODS if arguments.reference else DEFAULT_METHODS)
    methods = [name.strip() for name in asked.split(",") if name.strip()]
    optics = _common.optics_for(
        needs_optics(methods), _common.optics_values(arguments, [image]), [image]
    )
    work: Callable[..., Any] = evaluate
    if arguments.reference:
        truth = _common.cropped(_common.read(arguments, arguments.reference), arguments.region)
        work = partial(evaluate_against, reference=truth.stack)
    with _common.Progress("plane") as progress:
        found = work(
            image.stack,
            z_um=heights,
            planes=arguments.planes,
            optics=optics,
            methods=methods,
            model=arguments.model,
            device=arguments.device,
            on_progress=progress,
        )
    if arguments.json:
        _common.write_json(
            arguments.json,
            {
                "stack": image.name,
                "reference": arguments.reference and Path(arguments.reference).name,
                "region": arguments.region,
                **found.as_dict(),
            },
        )
    print(found.table())
