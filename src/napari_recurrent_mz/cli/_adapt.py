"""``recurrent-mz train --stack``: trained weights, adapted to a microscope from its own stacks."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..scans import InputError
from . import _common

if TYPE_CHECKING:
    from ..training.adapt import Adapter
    from ..training.loop import Trainer
    from ..training.measured import MeasuredField


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what only the adaptation to stacks needs."""
    group = parser.add_argument_group(
        "adapting to a microscope",
        "With --stack, the weights of --from go on learning from full stacks of your own; the "
        "last quarter of the field is held out and chooses the best weights.",
    )
    group.add_argument(
        "--stack", action="append", metavar="FILE", help="a fully sampled z-stack; may be repeated"
    )
    group.add_argument(
        "--minutes",
        type=float,
        metavar="X",
        help="about how long (default: 10 on a GPU, 20 on an Apple GPU, 60 on a CPU; --steps "
        "takes its place)",
    )
    group.add_argument(
        "--simulated-share",
        type=float,
        default=0.3,
        metavar="X",
        help="share of the steps on the simulated --fields, if those are given (default: 0.3)",
    )
    group.add_argument(
        "--z-step-um",
        type=float,
        metavar="X",
        help="distance between planes, µm (by default from the file's metadata)",
    )
    _common.add_region_option(parser)
    _common.add_position_option(parser)
    _common.add_optics_options(parser)


def run(arguments: argparse.Namespace, output: Path) -> None:
    """Adapt to the end or until Ctrl-C, then write the best weights and the curves."""
    from ..training.adapt import gain_at_start, write_adapted
    from ..training.finish import draw_curves

    adapter = _adapter(arguments, [_field(arguments, path) for path in arguments.stack])
    print(
        f"adapting '{adapter.start.name}' on {adapter.chosen.kind}: {adapter.chosen.name}, "
        f"from step {adapter.step}"
    )
    try:
        follow(adapter)
    except KeyboardInterrupt:
        if not adapter.has_best:
            raise
        _common.note(f"Stopped at step {adapter.step}: the best weights so far are written.")
    sha256 = write_adapted(adapter, output)
    print(
        f"held out, over linear MMSE: {gain_at_start(adapter.folder):+.3f} dB before, "
        f"{adapter.best_db:+.3f} dB now"
    )
    print(f"{output}: weights, sha256 {sha256}")
    print(f"{draw_curves(adapter.folder)}: curves")


def model_name(given: str | None) -> str | None:
    """The name or file that :func:`load_model` knows; None is the default model."""
    return None if given == "bundled" else given


def follow(trainer: Trainer) -> None:
    """Train to the end, with a line for every judgement of the weights."""
    with _common.Progress("step") as shown:
        for now in trainer.run():
            if now.step:
                shown(now.step, now.steps, now.seconds_left)
            if now.gain_db is not None:
                shown.clear()
                line = f"step {now.step}: held-out gain over linear MMSE {now.gain_db:+.3f} dB"
                if now.step:
                    line += f", loss {now.loss:.4g}, {_common.clock(now.seconds_left)} left"
                print(line, flush=True)


def _field(arguments: argparse.Namespace, path: str) -> MeasuredField:
    from ..io import stack_heights
    from ..saturation import stack_saturation_notes
    from ..training.measured import measured_field

    image = _common.cropped(_common.read(arguments, path), arguments.region)
    optics = _common.optics_for(True, _common.optics_values(arguments, [image]), [image])
    assert optics is not None
    for sentence in stack_saturation_notes(image.name, image.stack):
        _common.note(sentence)
    # One image has no step, and the next check says so in better words.
    heights = [0.0] if image.n_planes == 1 else stack_heights(image, arguments.z_step_um)
    return measured_field(image.data, heights, optics, image.name)


def _adapter(arguments: argparse.Namespace, fields: list[MeasuredField]) -> Adapter:
    from ..training.adapt import MINUTES, Adapter, adapting
    from ..weights import load_model
    from ._train import configuration, open_pool

    start = load_model(model_name(arguments.start_from))
    base = adapting(start, fields)
    config = configuration(arguments, base)
    if config.network != base.network:
        raise InputError(
            f"The network is that of '{start.name}' and cannot be changed while adapting: leave "
            "the options of the network out."
        )
    adapter = Adapter(
        config,
        fields,
        Path(arguments.run_folder),
        start=start,
        device=arguments.device,
        simulated=open_pool(arguments.fields) if arguments.fields else None,
        simulated_share=arguments.simulated_share,
    )
    if arguments.steps is None:
        adapter.minutes = arguments.minutes or MINUTES[adapter.chosen.kind]
    return adapter
