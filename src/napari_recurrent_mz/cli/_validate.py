"""``recurrent-mz validate``: what a model gains over linear MMSE on held-out simulated fields."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

from . import _common
from ._train import open_pool


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "validate",
        help="gain of a model over linear MMSE on held-out simulated fields",
        description="Ask a model for planes of fields that 'recurrent-mz simulate fields "
        "--held-out' has made, and print the decibels gained over the linear MMSE estimate.",
    )
    parser.add_argument("fields", metavar="FOLDER", help="held-out fields")
    parser.add_argument(
        "--questions", type=int, default=8, metavar="N", help="cases asked of each field, 1 to 8"
    )
    parser.add_argument("--json", metavar="FILE", help="write every value here")
    _common.add_model_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Validate, print the table, write the JSON."""
    from ..device import choose_device
    from ..runner import network_on
    from ..training.validation import validate
    from ..weights import load_model

    model, device = load_model(arguments.model), choose_device(arguments.device)
    pool = open_pool(arguments.fields)
    with _common.Progress("question") as progress:
        result = validate(
            network_on(model, device),
            pool,
            device=device,
            questions=max(1, min(arguments.questions, 8)),
            on_progress=progress,
        )
    print(f"model {model.name} (sha256 {model.sha256[:12]}), {result.questions} questions")
    print("gain over linear MMSE, dB of mean squared error, ± its standard error")
    for part in (result.by_kind, result.by_case):
        print()
        for name, gain in part.items():
            error = result.errors.get(name)
            print(f"  {name:<24}{gain:+8.3f}" + ("" if error is None else f" ± {error:.3f}"))
    print(f"\n  {'all':<24}{result.gain_db:+8.3f}\n  {'worst question':<24}{result.worst_db:+8.3f}")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(dataclasses.asdict(result), indent=1))
