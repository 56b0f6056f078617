"""``recurrent-mz evaluate``: a fully sampled stack against what methods make of some planes."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

from ..core.methods import METHODS
from ._common import Fields, NetworkOptions, OpticsOptions, Planes, check_json, load_scans
from ._options import Argument, Option
from ._terminal import Progress, note


def evaluate(
    *,
    stack: Annotated[str, Argument("the fully sampled stack", "STACK")],
    files: Fields,
    planes: Planes = None,
    optics: OpticsOptions,
    methods: Annotated[
        str | None,
        Option(
            f"of {', '.join(METHODS)} (default: recurrent-mz,lmmse,linear; with --reference "
            "recurrent-mz-plus,lmmse-plus)",
            "A,B,...",
        ),
    ] = None,
    reference: Annotated[
        str | None,
        Option(
            "compare with this stack of the same planes instead, for instance by a confocal; each "
            "volume, the whole of STACK included, is first brought to its units by one gain and "
            "one offset"
        ),
    ] = None,
    network: NetworkOptions,
    json: Annotated[str | None, Option("write every plane's values there")] = None,
) -> None:
    """Compare methods on a fully sampled stack.

    Rebuild a fully sampled stack from some of its planes and compare with the rest: one row a
    method. PSNR over the range from the stack's background to its 99.9th percentile, NRMSE in
    percent of each truth plane's span, SSIM; the input planes are left out, and nothing is
    rescaled to fit.
    """
    from ..estimates.saturation import saturation_notes
    from ..io import scatter_note, stack_heights, write_json
    from ..measure import evaluation

    check_json(json)
    image = files.read(stack)
    # The same checks, with the same sentences, as for a reconstruction.
    scans = load_scans([image], None, planes, files.z_step_um)
    heights = stack_heights(image, files.z_step_um)
    for sentence in saturation_notes(scans) + scatter_note(heights, f"'{image.name}'"):
        note(sentence)
    usual = evaluation.CONFOCAL_METHODS if reference else evaluation.DEFAULT_METHODS
    asked = list(usual) if methods is None else [name.strip() for name in methods.split(",")]
    asked = [name for name in asked if name]
    work: Any = evaluation.evaluate
    known = optics.of([image], asked)[0]
    if reference:
        work = partial(evaluation.evaluate_against, reference=files.read(reference).stack)
    with Progress("plane") as progress:
        found = work(
            image.stack,
            z_um=heights,
            planes=planes,
            optics=known,
            methods=asked,
            model=network.model,
            device=network.device,
            on_progress=progress,
        )
    if json:
        about = {
            "stack": image.name,
            "reference": reference and Path(reference).name,
            "region": files.region,
        }
        write_json(json, about | found.as_dict())
    print(found.table())
