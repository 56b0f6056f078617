"""``recurrent-mz card``: put what ``evaluate`` measured into a model's card."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ..scans import InputError


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "card",
        help="add measured tables to a model's card",
        description="Write the means of 'recurrent-mz evaluate --json' files into the card of the "
        "weights that they were measured with. The weights stay as they are.",
    )
    parser.add_argument("weights", metavar="FILE", help="weights, .safetensors")
    parser.add_argument(
        "--evaluation", nargs="+", required=True, metavar="JSON", help="files of evaluate --json"
    )
    parser.add_argument("--description", metavar="TEXT", help="replace the card's description")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Read the measurements, rewrite the file."""
    from ..weights import load_model, save_model

    rows = [_row(Path(path)) for path in arguments.evaluation]
    path = Path(arguments.weights)
    model = load_model(path.resolve())
    # A new card makes a new file: the tables name the one that they were measured with.
    before = [*model.card.get("same_weights_as", []), model.sha256]
    card = {**model.card, "evaluation": rows, "same_weights_as": before}
    if arguments.description:
        card["description"] = arguments.description
    sha256 = save_model(model.network, card, path)
    print(f"{path}: card with {len(rows)} measured stacks, sha256 {sha256}")


def _row(path: Path) -> dict[str, Any]:
    """One stack: which planes were the scans, and the mean of every method."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        means = {
            name: {measure: round(value, 4) for measure, value in scores["mean"].items()}
            for name, scores in found["methods"].items()
        }
        return {"stack": found["stack"], "planes": found["planes"], **means}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"'{path.name}' is not a result of recurrent-mz evaluate --json: give such a file."
        ) from error
