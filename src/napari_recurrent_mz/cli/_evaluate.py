"""``recurrent-mz evaluate``: a fully sampled stack against what methods make of some planes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ..core.methods import METHODS
from ._common import ChannelOptics, Fields, NetworkOptions, Planes, check_json, load_scans
from ._options import Argument, Option
from ._terminal import Progress, note

if TYPE_CHECKING:
    from ..core.optics import Optics
    from ..io import ImageFile
    from ..measure.evaluation import Evaluation
    from ._common import OneChannel


def evaluate(
    *,
    stack: Annotated[str, Argument("the fully sampled stack", "STACK")],
    files: Fields,
    planes: Planes = None,
    optics: ChannelOptics,
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
    from ..io import write_json
    from ..measure.evaluation import CONFOCAL_METHODS, DEFAULT_METHODS

    check_json(json)
    usual = CONFOCAL_METHODS if reference else DEFAULT_METHODS
    asked = list(usual) if methods is None else [name.strip() for name in methods.split(",")]
    asked = [name for name in asked if name]
    jobs = [
        _Job.of(stack, reference, channel, files, planes, optics, asked)
        for channel in files.channels(stack)
    ]
    told: dict[str, Any] = {}
    for job in jobs:
        found = job.compared(planes, asked, network)
        about = {
            "stack": job.image.name,
            "reference": reference and Path(reference).name,
            "region": files.region,
        }
        told[job.channel] = about | found.as_dict()
        print(f"{job.channel}\n{found.table()}" if job.channel else found.table())
    if json:
        write_json(json, told.get("", {"channels": told}))


@dataclass(frozen=True, eq=False)
class _Job:
    """One channel, with what is needed to compare methods on it."""

    channel: str  # empty where there is only one
    image: ImageFile
    reference: ImageFile | None
    z_um: Any
    optics: Optics | None

    @classmethod
    def of(
        cls,
        stack: str,
        reference: str | None,
        channel: OneChannel,
        files: Fields,
        planes: Sequence[int] | None,
        optics: ChannelOptics,
        methods: Sequence[str],
    ) -> _Job:
        """Read it, with the same checks and sentences as for a reconstruction."""
        from ..engine.check import saturation_notes
        from ..io import scatter_note, stack_heights

        image = files.read(stack, channel=channel)
        scans = load_scans([image], None, planes, files.z_step_um)
        heights = stack_heights(image, files.z_step_um)
        for sentence in saturation_notes(scans) + scatter_note(heights, f"'{image.name}'"):
            note(sentence)
        known = optics.of_channel(channel).of([image], methods)[0]
        other = files.read(reference, channel=channel) if reference else None
        return cls(channel.name, image, other, heights, known)

    def compared(
        self, planes: Sequence[int] | None, methods: Sequence[str], network: NetworkOptions
    ) -> Evaluation:
        """What methods make of some planes of it."""
        from ..measure import evaluation

        work: Any = evaluation.evaluate
        if self.reference is not None:
            work = partial(evaluation.evaluate_against, reference=self.reference.stack)
        with Progress("plane") as progress:
            found: Evaluation = work(
                self.image.stack,
                z_um=self.z_um,
                planes=planes,
                optics=self.optics,
                methods=methods,
                model=network.model,
                device=network.device,
                on_progress=progress,
            )
        return found
