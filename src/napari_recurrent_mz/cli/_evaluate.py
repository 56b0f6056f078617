"""``recurrent-mz evaluate``: a fully sampled stack against what methods make of some planes."""

from __future__ import annotations

import argparse
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
    _common.add_region_option(parser)
    _common.add_optics_options(parser)
    parser.add_argument(
        "--methods",
        default="recurrent-mz,lmmse,linear",
        metavar="A,B,...",
        help=f"of {', '.join(METHODS)} (default: recurrent-mz,lmmse,linear)",
    )
    _common.add_model_options(parser)
    parser.add_argument("--json", metavar="FILE", help="write every plane's values there")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Read, evaluate, print."""
    from ..evaluation import evaluate
    from ..io import read_image, stack_heights

    _common.check_json(arguments.json)
    image = _common.cropped(read_image(arguments.stack), arguments.region)
    # The same checks, with the same sentences, as for a reconstruction.
    _common.load_scans([image], z_um=None, planes=arguments.planes, z_step_um=arguments.z_step_um)
    methods = [name.strip() for name in arguments.methods.split(",") if name.strip()]
    optics = _common.optics_for(
        needs_optics(methods), _common.optics_values(arguments, [image]), f"'{image.name}'"
    )
    with _common.Progress("plane") as progress:
        found = evaluate(
            image.stack,
            stack_heights(image, arguments.z_step_um),
            arguments.planes,
            optics=optics,
            methods=methods,
            model=arguments.model,
            device=arguments.device,
            on_progress=progress,
        )
    if arguments.json:
        _common.write_json(
            arguments.json, {"stack": image.name, "region": arguments.region, **found.as_dict()}
        )
    print(found.table())
