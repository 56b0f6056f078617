"""``recurrent-mz train``: simulated fields to weights with their model card."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import re
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..device import CHOICES
from ..scans import InputError
from . import _adapt

if TYPE_CHECKING:
    from ..training.fields import Pool
    from ..training.loop import TrainConfig, Trainer


def add_to(commands: Any) -> None:
    """Add the command to the parser, without its settings: those need torch."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "train",
        help="train a network on simulated fields",
        description="Train on the fields that 'recurrent-mz simulate fields' has made. Run again "
        "with the same RUN folder, it goes on from the last checkpoint.",
    )
    parser.add_argument("run_folder", metavar="RUN", help="folder for checkpoints, log and curves")
    parser.add_argument("--fields", metavar="FOLDER", help="simulated fields to train on")
    parser.add_argument(
        "--held-out", metavar="FOLDER", help="simulated fields that choose the best weights"
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="weights with their card, .safetensors (default: RUN/weights.safetensors)",
    )
    parser.add_argument(
        "--from",
        "--start-from",
        dest="start_from",
        metavar="MODEL",
        help="weights to begin with: bundled, the name of a bundled model, or a file",
    )
    parser.add_argument(
        "--revive",
        action="store_true",
        help="give dead channels of the weights to begin with new ones, without a change of what "
        "the network makes; goes with --slope",
    )
    _adapt.add_options(parser)
    parser.add_argument("--device", choices=CHOICES, default="auto", help="default: auto")
    parser.add_argument(
        "--paper-network", action="store_true", help="the paper's own form of the network"
    )
    parser.add_argument(
        "--paper-loss", action="store_true", help="the paper's loss: BerHu, MS-SSIM, adversarial"
    )
    parser.set_defaults(run=run)


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add one option for every field of the configuration classes, as they document it."""
    from ..architectures import ARCHITECTURES
    from ..network import NetworkConfig
    from ..training.examples import ExampleConfig
    from ..training.loop import TrainConfig
    from ..training.losses import LossConfig

    parser.add_argument(
        "--architecture",
        choices=ARCHITECTURES,
        default="recurrent-mz",
        help="which network to train, from its own defaults (default: recurrent-mz)",
    )
    given: set[str] = set()
    for title, cls in (
        ("the run", TrainConfig),
        ("loss", LossConfig),
        ("examples", ExampleConfig),
        ("network", NetworkConfig),
        *((f"network of {name}", found.config) for name, found in ARCHITECTURES.items()),
    ):
        group = parser.add_argument_group(title)
        types, words = typing.get_type_hints(cls), _described(cls)
        for field in dataclasses.fields(cls):
            if field.name not in given and not dataclasses.is_dataclass(types[field.name]):
                given.add(field.name)
                _add_setting(group, field, types[field.name], words.get(field.name, ""))


def _add_setting(
    group: argparse._ArgumentGroup, field: dataclasses.Field[Any], kind: Any, words: str
) -> None:
    option, default = "--" + field.name.replace("_", "-"), field.default
    help_ = f"{words} (default: {_shown(default)})".strip().replace("%", "%%")
    if kind is bool:
        group.add_argument(option, action=argparse.BooleanOptionalAction, default=None, help=help_)
    elif typing.get_origin(kind) is tuple:
        items = typing.get_args(kind)
        count = "+" if items[-1] is Ellipsis else len(items)
        group.add_argument(option, type=items[0], nargs=count, metavar="X", help=help_)
    else:
        group.add_argument(option, type=kind, metavar="X", help=help_)


def _shown(default: Any) -> str:
    return " ".join(map(str, default)) if isinstance(default, tuple) else str(default)


def _described(cls: type) -> dict[str, str]:
    """What a class's docstring says of each parameter (numpydoc; 'a, b : type' names two)."""
    found: dict[str, str] = {}
    names: list[str] = []
    for line in (inspect.getdoc(cls) or "").splitlines():
        head = re.match(r"(\w+(?:, \w+)*) : ", line)
        if head:
            names = head[1].split(", ")
        elif names and line.startswith("    "):
            for name in names:
                found[name] = f"{found.get(name, '')} {line.strip()}".strip()
        elif line.strip():
            names = []
    return found


def configuration(arguments: argparse.Namespace, base: TrainConfig | None = None) -> TrainConfig:
    """The configuration that the options make of ``base``, by default that of a new network."""
    from ..architectures import ARCHITECTURES
    from ..training.loop import TrainConfig
    from ..training.losses import LossConfig

    def chosen(base: Any) -> Any:
        values = {f.name: getattr(arguments, f.name, None) for f in dataclasses.fields(base)}
        given = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return dataclasses.replace(base, **{k: v for k, v in given.items() if v is not None})

    base = base or TrainConfig(network=ARCHITECTURES[arguments.architecture].config())
    network = type(base.network).paper() if arguments.paper_network else base.network
    loss = LossConfig.paper() if arguments.paper_loss else base.loss
    parts = {"network": chosen(network), "loss": chosen(loss), "examples": chosen(base.examples)}
    made: TrainConfig = dataclasses.replace(chosen(base), **parts)
    return made


def run(arguments: argparse.Namespace) -> None:
    """Train to the end, then write the weights and the curves."""
    from ..training.finish import draw_curves, write_model

    folder = Path(arguments.run_folder)
    output = Path(arguments.output or folder / "weights.safetensors")
    if output.suffix != ".safetensors":
        raise InputError(
            f"'{output.name}' must end in .safetensors: weights are kept in nothing else."
        )
    if arguments.output and not output.resolve().parent.is_dir():
        raise InputError(f"The folder of '{output}' does not exist: make it first.")
    if arguments.stack:
        _adapt.run(arguments, output)
        return
    if not (arguments.fields and arguments.held_out):
        raise InputError(
            "There is nothing to learn from: give --fields and --held-out (simulated fields), or "
            "--stack (a full stack of your own)."
        )
    config = configuration(arguments)
    if config.steps < 1 or config.batch < 1:
        raise InputError("--steps and --batch must be at least 1.")
    pool, held_out = (open_pool(path) for path in (arguments.fields, arguments.held_out))
    trainer = _trainer(arguments, config, pool, held_out, folder)
    print(f"training on {trainer.chosen.kind}: {trainer.chosen.name}, from step {trainer.step}")
    if trainer.revived is not None:
        print(
            f"revived: {trainer.revived.channels} dead channels, and {trainer.revived.levels} "
            "levels that did not count"
        )
    _train(trainer)
    sha256 = write_model(folder, output, pool=pool, device=trainer.chosen)
    print(f"{output}: weights, sha256 {sha256}")
    print(f"{draw_curves(folder)}: curves")


def open_pool(folder: str) -> Pool:
    """The fields of a folder, or one sentence."""
    from ..training.fields import Pool

    if not Path(folder).is_dir():
        raise InputError(
            f"The folder '{folder}' does not exist: make fields with recurrent-mz simulate fields."
        )
    return Pool(Path(folder))


def _trainer(
    arguments: argparse.Namespace,
    config: TrainConfig,
    pool: Pool,
    held_out: Pool,
    folder: Path,
) -> Trainer:
    from ..training.loop import Trainer
    from ..weights import load_model

    name = arguments.start_from
    start = load_model(_adapt.model_name(name)).network if name else None
    options: dict[str, Any] = {"device": arguments.device, "revive": arguments.revive}
    try:
        return Trainer(config, pool, held_out, folder, start_from=start, **options)
    except (RuntimeError, KeyError) as error:
        raise InputError(
            f"The run in '{folder}' or the weights to start from are of another network: "
            "take another folder, or the settings that it was begun with."
        ) from error


def _train(trainer: Trainer) -> None:
    try:
        _adapt.follow(trainer)
    except KeyboardInterrupt:
        raise InputError(
            f"Stopped at step {trainer.step}: the same command goes on from the last checkpoint."
        ) from None
