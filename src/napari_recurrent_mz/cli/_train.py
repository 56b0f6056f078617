"""``recurrent-mz train``: simulated fields, or stacks of one's own, to weights with their card."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ..core.device import Device, choose_device
from ..core.errors import size_in_words
from ..core.scans import InputError, counted
from ..estimates.saturation import stack_saturation_notes
from ..io import stack_heights
from ..io._optics import overridden
from ..io._scans import check_measured
from ._common import OUTPUT, DeviceChoice, Fields, OpticsOptions, folder_of
from ._options import Argument, Option, add_options, changed
from ._terminal import Progress, clock, note

if TYPE_CHECKING:
    from ..networks.architectures import Network
    from ..training.adapt import Adapter
    from ..training.fields import Pool
    from ..training.learner import TrainConfig
    from ..training.loop import Check, Source, Trainer
    from ..training.measured import MeasuredField

NEW_SLOPE = 0.01
"""Of the rectifiers of a new network without normalisation, whose channels could die."""


@dataclass(frozen=True, kw_only=True)
class Adapting(Fields):
    """Adapting to a microscope.

    With --stack, the network of --from goes on learning from full stacks of your own. The last
    quarter of the field is kept for testing: the network that rebuilds it best is saved.
    """

    stack: Annotated[
        tuple[str, ...] | None, Option("a fully sampled z-stack; may be repeated", repeats=True)
    ] = None
    simulated_share: Annotated[
        float, Option("share of the learning done on simulated --fields too, if these are given")
    ] = 0.3
    optics: OpticsOptions


def train(
    *,
    run_folder: Annotated[
        str, Argument("folder for the run: where it stands, its log and curves", "RUN")
    ],
    fields: Annotated[str | None, Option("simulated fields to train on", "FOLDER")] = None,
    held_out: Annotated[
        str | None,
        Option(
            "simulated fields, or a folder of examples with a check, that the network is tested "
            "on: the best one is kept (default: the check of --examples)",
            "FOLDER",
        ),
    ] = None,
    examples: Annotated[
        str | None,
        Option(
            "sets of scans to train on, instead of --fields; unless the network is said, it is "
            "then like the bundled one (16 base channels, no normalisation, non-negative object)",
            "FOLDER",
        ),
    ] = None,
    memory_gb: Annotated[
        float, Option("memory for the sets of --examples, on the GPU if there is one", "GB")
    ] = 4.0,
    output: Annotated[
        str | None,
        Option(
            "file for the network, .safetensors, and its card (default: RUN/weights.safetensors)",
            names=OUTPUT,
        ),
    ] = None,
    start_from: Annotated[
        str | None,
        Option(
            "network to start from: bundled, the name of a bundled model, or a file",
            "MODEL",
            ("--from", "--start-from"),
        ),
    ] = None,
    revive: Annotated[
        bool,
        Option(
            "give parts of --from that do nothing (dead channels) new weights; its images stay; "
            "goes with --slope"
        ),
    ] = False,
    minutes: Annotated[
        float | None,
        Option(
            "minutes to train, instead of --steps (default with --stack: 10 on a GPU, 20 on an "
            "Apple GPU, 60 on a CPU)"
        ),
    ] = None,
    adapting: Adapting,
    device: DeviceChoice = "auto",
    paper_network: Annotated[bool, Option("the paper's own form of the network")] = False,  # noqa: ARG001
    paper_loss: Annotated[bool, Option("the paper's loss: BerHu, MS-SSIM, adversarial")] = False,  # noqa: ARG001
    values: argparse.Namespace,
) -> None:
    """Train a network on simulated samples.

    Train on the examples that 'recurrent-mz simulate examples' makes, also while it makes them, or
    on the fields that 'recurrent-mz simulate fields' has made, or adapt a network to stacks of your
    own (--stack). Run again with the same RUN folder, it goes on from where it was.
    """
    folder = Path(run_folder)
    weights = Path(output or folder / "weights.safetensors")
    if weights.suffix != ".safetensors":
        raise InputError(
            f"'{weights.name}' must end in .safetensors: networks are kept in nothing else."
        )
    if output:
        folder_of(weights)
    if minutes is not None and not minutes > 0:
        raise InputError(f"--minutes is {minutes:g}: give a time above 0.")
    if adapting.stack:
        stacks = [_field(adapting, path) for path in adapting.stack]
        _adapt(_adapter(values, adapting, stacks), weights)
        return
    if not (examples or (fields and held_out)) or (examples and fields):
        raise InputError(
            "There is nothing to learn from, or too much: give --examples (sets of scans), or "
            "--fields and --held-out (simulated fields), or --stack (a full stack of your own)."
        )
    from ..networks.weights import load_model
    from ..training.loop import Trainer

    start = load_model(_model_name(start_from)).network if start_from else None
    chosen = choose_device(device)
    config = configuration(values, start=start)
    if config.steps < 1 or config.batch < 1:
        raise InputError("--steps and --batch must be at least 1.")
    source, facts = _examples(config, chosen, fields, examples, memory_gb)
    check, words = _check(config, chosen, held_out or str(examples))
    trainer = Trainer(
        config,
        source,
        check,
        folder,
        device=chosen,
        start_from=start,
        revive=revive,
        minutes=None if values.steps else minutes,
    )
    _train(trainer, weights, facts, words)


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add one option for every field of the configuration classes, as they document it."""
    from ..networks.architectures import ARCHITECTURES
    from ..networks.recurrent_mz import NetworkConfig
    from ..training.examples import ExampleConfig
    from ..training.learner import TrainConfig
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
        *(
            (f"network of {name}", architecture.config)
            for name, architecture in ARCHITECTURES.items()
        ),
    ):
        add_options(parser, source, parser.add_argument_group(title), unset=True)


def configuration(
    values: argparse.Namespace, base: TrainConfig | None = None, start: Network | None = None
) -> TrainConfig:
    """What the options make of ``base``, by default of ``start``'s settings or a new network's."""
    from ..networks.architectures import ARCHITECTURES, architecture_of
    from ..training.learner import TrainConfig
    from ..training.losses import LossConfig

    own = ARCHITECTURES[values.architecture].config
    is_new = base is None and (
        start is None or architecture_of(start.config) != values.architecture
    )
    if base is None and start is not None and not is_new:
        base = TrainConfig(network=start.config)
    elif base is None and values.examples and values.architecture == "recurrent-mz":
        base = TrainConfig(network=own.general())
    base = base or TrainConfig(network=own())
    if values.paper_network:
        base = replace(base, network=own.paper())
    if values.paper_loss:
        base = replace(base, loss=LossConfig.paper())
    config = changed(base, values)
    if is_new and values.slope is None and config.network.norm == "none":
        config = replace(config, network=replace(config.network, slope=NEW_SLOPE))
    return config


def open_pool(folder: str) -> Pool:
    """The fields of a folder, or one sentence."""
    from ..training.fields import Pool

    if not Path(folder).is_dir():
        raise InputError(
            f"The folder '{folder}' does not exist: make fields with recurrent-mz simulate fields."
        )
    return Pool(Path(folder))


def _examples(
    config: TrainConfig, device: Device, fields: str | None, examples: str | None, memory_gb: float
) -> tuple[Source, Callable[[], dict[str, Any]]]:
    """What to learn from, and what the card says of it in the end."""
    from ..training import finish
    from ..training.folder import ExampleFolder
    from ..training.store import FieldExamples, FolderExamples

    if examples is None:
        pool = open_pool(str(fields))
        facts = partial(finish.facts_of_fields, pool, config.examples)
        return FieldExamples(pool, config, device), facts
    folder = ExampleFolder.open(Path(examples))
    source = FolderExamples(folder, config, device.torch, memory_gb)
    print(
        f"{examples}: {counted(len(folder.groups()), 'group')} of examples so far, "
        f"{size_in_words(1e9 * folder.gigabytes)}, of which at most {memory_gb:g} GB are in memory"
    )
    return source, lambda: finish.facts_of_sets(folder.contents.sets, len(folder.groups()))


def _check(config: TrainConfig, device: Device, path: str) -> tuple[Check, str]:
    """What chooses the best weights, and what the card says of it."""
    from ..training import finish
    from ..training.folder import ExampleFolder
    from ..training.loop import held_out_check

    if not ExampleFolder.is_at(Path(path)):
        return held_out_check(config, open_pool(path), device), finish.HELD_OUT_FIELDS
    folder = ExampleFolder.open(Path(path))
    folder.require(config.network)
    return folder.check(device), finish.HELD_OUT_SETS


def _train(trainer: Trainer, output: Path, facts: Callable[[], dict[str, Any]], check: str) -> None:
    """Train to the end, then write the weights and the curves."""
    from ..training.finish import draw_curves, write_model

    print(f"training on {trainer.chosen.kind}: {trainer.chosen.name}, from step {trainer.step}")
    if trainer.revived is not None:
        print(
            f"revived: {trainer.revived.channels} dead channels, and {trainer.revived.levels} "
            "levels that did not count"
        )
    try:
        _follow(trainer, dead=True)
    except KeyboardInterrupt:
        raise InputError(
            f"Stopped at step {trainer.step}: the same command goes on from the last checkpoint."
        ) from None
    sha256 = write_model(trainer.folder, output, facts=facts(), check=check, device=trainer.chosen)
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
        note(f"Stopped at step {adapter.step}: the network that was best so far is written.")
    sha256 = write_adapted(adapter, output)
    print(
        f"held out, over linear MMSE: {gain_at_start(adapter.folder):+.3f} dB before, "
        f"{adapter.best_db:+.3f} dB now"
    )
    print(f"{output}: weights, sha256 {sha256}")
    print(f"{draw_curves(adapter.folder)}: curves")


def _follow(trainer: Trainer, dead: bool = False) -> None:
    """Train to the end, with a line for every judgement of the weights, and what is ``dead``."""
    with Progress("step") as shown:
        for now in trainer.run():
            if now.step:
                shown(now.step, now.steps, now.seconds_left)
            if now.gain_db is not None:
                shown.clear()
                words = now.words if dead else now.words.partition(";")[0]
                line = f"step {now.step}: held-out gain over linear MMSE {words}"
                if now.step:
                    line += f"; loss {now.loss:.4g}, {clock(now.seconds_left)} left"
                print(line, flush=True)


def _model_name(given: str | None) -> str | None:
    """The name or file that ``load_model`` knows; None is the default model."""
    return None if given == "bundled" else given


def _field(adapting: Adapting, path: str) -> MeasuredField:
    from ..training.measured import held_out_notes, measured_field

    image = adapting.read(path)
    check_measured(image)
    optics, _ = adapting.optics.of([image], ["recurrent-mz"])
    assert optics is not None  # the network needs them
    note(*stack_saturation_notes(image.name, image.stack))
    # One image has no step, and the next check says so in better words.
    heights = [0.0] if image.n_planes == 1 else stack_heights(image, adapting.z_step_um)
    note(*overridden({"z_step_um": adapting.z_step_um}, [image]))
    field = measured_field(image.data, heights, optics, image.name)
    note(*held_out_notes(field))
    return field


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
        adapter.minutes = values.minutes or MINUTES[adapter.chosen.kind]
    return adapter
