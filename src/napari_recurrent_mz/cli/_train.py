"""``recurrent-mz train``: simulated fields, or stacks of one's own, to weights with their card."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ..core.memory import is_out_of_memory
from ..core.scans import InputError
from ._common import OUTPUT, DeviceChoice, Fields, OpticsOptions, folder_of
from ._options import Argument, Option, add_options, changed
from ._terminal import Progress, clock, note

if TYPE_CHECKING:
    from ..training.adapt import Adapter
    from ..training.fields import Pool
    from ..training.loop import TrainConfig, Trainer
    from ..training.measured import MeasuredField


@dataclass(frozen=True, kw_only=True)
class Adapting(Fields):
    """Adapting to a microscope.

    With --stack, the weights of --from go on learning from full stacks of your own; the last
    quarter of the field is held out and chooses the best weights.
    """

    stack: Annotated[
        tuple[str, ...] | None, Option("a fully sampled z-stack; may be repeated", repeats=True)
    ] = None
    minutes: Annotated[
        float | None,
        Option(
            "about how long (default: 10 on a GPU, 20 on an Apple GPU, 60 on a CPU; --steps takes "
            "its place)"
        ),
    ] = None
    simulated_share: Annotated[
        float, Option("share of the steps on the simulated --fields, if those are given")
    ] = 0.3
    optics: OpticsOptions


def train(
    *,
    run_folder: Annotated[str, Argument("folder for checkpoints, log and curves", "RUN")],
    fields: Annotated[str | None, Option("simulated fields to train on", "FOLDER")] = None,
    held_out: Annotated[
        str | None, Option("simulated fields that choose the best weights", "FOLDER")
    ] = None,
    output: Annotated[
        str | None,
        Option(
            "weights with their card, .safetensors (default: RUN/weights.safetensors)",
            names=OUTPUT,
        ),
    ] = None,
    start_from: Annotated[
        str | None,
        Option(
            "weights to begin with: bundled, the name of a bundled model, or a file",
            "MODEL",
            ("--from", "--start-from"),
        ),
    ] = None,
    revive: Annotated[
        bool,
        Option(
            "give dead channels of the weights to begin with new ones, without a change of what "
            "the network makes; goes with --slope"
        ),
    ] = False,
    adapting: Adapting,
    device: DeviceChoice = "auto",
    paper_network: Annotated[bool, Option("the paper's own form of the network")] = False,  # noqa: ARG001
    paper_loss: Annotated[bool, Option("the paper's loss: BerHu, MS-SSIM, adversarial")] = False,  # noqa: ARG001
    values: argparse.Namespace,
) -> None:
    """Train a network on simulated fields.

    Train on the fields that 'recurrent-mz simulate fields' has made. Run again with the same RUN
    folder, it goes on from the last checkpoint.
    """
    folder = Path(run_folder)
    weights = Path(output or folder / "weights.safetensors")
    if weights.suffix != ".safetensors":
        raise InputError(
            f"'{weights.name}' must end in .safetensors: weights are kept in nothing else."
        )
    if output:
        folder_of(weights)
    if adapting.stack:
        found = [_field(adapting, path) for path in adapting.stack]
        _adapt(_adapter(values, adapting, found), weights)
        return
    if not (fields and held_out):
        raise InputError(
            "There is nothing to learn from: give --fields and --held-out (simulated fields), or "
            "--stack (a full stack of your own)."
        )
    config = configuration(values)
    if config.steps < 1 or config.batch < 1:
        raise InputError("--steps and --batch must be at least 1.")
    pool, judges = open_pool(fields), open_pool(held_out)
    trainer = _trainer(config, pool, judges, folder, start_from, device=device, revive=revive)
    _train(trainer, weights, pool)


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add one option for every field of the configuration classes, as they document it."""
    from ..networks.architectures import ARCHITECTURES
    from ..networks.recurrent_mz import NetworkConfig
    from ..training.examples import ExampleConfig
    from ..training.loop import TrainConfig
    from ..training.losses import LossConfig

    parser.add_argument(
        "--architecture",
        choices=ARCHITECTURES,
        default="recurrent-mz",
        help="which network to train, from its own defaults (default: recurrent-mz)",
    )
    for title, source in (
        ("the run", TrainConfig),
        ("loss", LossConfig),
        ("examples", ExampleConfig),
        ("network", NetworkConfig),
        *((f"network of {name}", found.config) for name, found in ARCHITECTURES.items()),
    ):
        add_options(parser, source, parser.add_argument_group(title), unset=True)


def configuration(values: argparse.Namespace, base: TrainConfig | None = None) -> TrainConfig:
    """What the options make of ``base``, by default of the configuration of a new network."""
    from dataclasses import replace

    from ..networks.architectures import ARCHITECTURES
    from ..training.loop import TrainConfig
    from ..training.losses import LossConfig

    base = base or TrainConfig(network=ARCHITECTURES[values.architecture].config())
    if values.paper_network:
        base = replace(base, network=type(base.network).paper())
    if values.paper_loss:
        base = replace(base, loss=LossConfig.paper())
    return changed(base, values)


def open_pool(folder: str) -> Pool:
    """The fields of a folder, or one sentence."""
    from ..training.fields import Pool

    if not Path(folder).is_dir():
        raise InputError(
            f"The folder '{folder}' does not exist: make fields with recurrent-mz simulate fields."
        )
    return Pool(Path(folder))


def _trainer(
    config: TrainConfig, pool: Pool, held_out: Pool, folder: Path, start: str | None, **options: Any
) -> Trainer:
    from ..networks.weights import load_model
    from ..training.loop import Trainer

    network = load_model(_model_name(start)).network if start else None
    try:
        return Trainer(config, pool, held_out, folder, start_from=network, **options)
    except (RuntimeError, KeyError) as error:
        if is_out_of_memory(error):
            raise
        raise InputError(
            f"The run in '{folder}' or the weights to start from are of another network: "
            "take another folder, or the settings that it was begun with."
        ) from error


def _train(trainer: Trainer, output: Path, pool: Pool) -> None:
    """Train to the end, then write the weights and the curves."""
    from ..training.finish import draw_curves, write_model

    print(f"training on {trainer.chosen.kind}: {trainer.chosen.name}, from step {trainer.step}")
    if trainer.revived is not None:
        print(
            f"revived: {trainer.revived.channels} dead channels, and {trainer.revived.levels} "
            "levels that did not count"
        )
    try:
        _follow(trainer)
    except KeyboardInterrupt:
        raise InputError(
            f"Stopped at step {trainer.step}: the same command goes on from the last checkpoint."
        ) from None
    sha256 = write_model(trainer.folder, output, pool=pool, device=trainer.chosen)
    print(f"{output}: weights, sha256 {sha256}")
    print(f"{draw_curves(trainer.folder)}: curves")


def _adapt(adapter: Adapter, output: Path) -> None:
    """Adapt to the end or until Ctrl-C, then write the best weights and the curves."""
    from ..training.adapt import gain_at_start, write_adapted
    from ..training.finish import draw_curves

    print(
        f"adapting '{adapter.start.name}' on {adapter.chosen.kind}: {adapter.chosen.name}, "
        f"from step {adapter.step}"
    )
    try:
        _follow(adapter)
    except KeyboardInterrupt:
        if not adapter.has_best:
            raise
        note(f"Stopped at step {adapter.step}: the best weights so far are written.")
    sha256 = write_adapted(adapter, output)
    print(
        f"held out, over linear MMSE: {gain_at_start(adapter.folder):+.3f} dB before, "
        f"{adapter.best_db:+.3f} dB now"
    )
    print(f"{output}: weights, sha256 {sha256}")
    print(f"{draw_curves(adapter.folder)}: curves")


def _follow(trainer: Trainer) -> None:
    """Train to the end, with a line for every judgement of the weights."""
    with Progress("step") as shown:
        for now in trainer.run():
            if now.step:
                shown(now.step, now.steps, now.seconds_left)
            if now.gain_db is not None:
                shown.clear()
                line = f"step {now.step}: held-out gain over linear MMSE {now.gain_db:+.3f} dB"
                if now.step:
                    line += f", loss {now.loss:.4g}, {clock(now.seconds_left)} left"
                print(line, flush=True)


def _model_name(given: str | None) -> str | None:
    """The name or file that ``load_model`` knows; None is the default model."""
    return None if given == "bundled" else given


def _field(adapting: Adapting, path: str) -> MeasuredField:
    from ..estimates.saturation import stack_saturation_notes
    from ..io import stack_heights
    from ..training.measured import measured_field

    image = adapting.read(path)
    optics, _ = adapting.optics.of([image], ["recurrent-mz"])
    assert optics is not None  # the network needs them
    for sentence in stack_saturation_notes(image.name, image.stack):
        note(sentence)
    # One image has no step, and the next check says so in better words.
    heights = [0.0] if image.n_planes == 1 else stack_heights(image, adapting.z_step_um)
    return measured_field(image.data, heights, optics, image.name)


def _adapter(
    values: argparse.Namespace, adapting: Adapting, fields: list[MeasuredField]
) -> Adapter:
    from ..networks.weights import load_model
    from ..training.adapt import MINUTES, Adapter
    from ..training.adapt import adapting as usual

    start = load_model(_model_name(values.start_from))
    base = usual(start, fields)
    config = configuration(values, base)
    if config.network != base.network:
        raise InputError(
            f"The network is that of '{start.name}' and cannot be changed while adapting: leave "
            "the options of the network out."
        )
    adapter = Adapter(
        config,
        fields,
        Path(values.run_folder),
        start=start,
        device=values.device,
        simulated=open_pool(values.fields) if values.fields else None,
        simulated_share=adapting.simulated_share,
    )
    if values.steps is None:
        adapter.minutes = adapting.minutes or MINUTES[adapter.chosen.kind]
    return adapter
