"""``recurrent-mz card`` and ``validate``: what a model reaches, in its card or as a table."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from ..core.scans import InputError
from ._common import NetworkOptions, check_json
from ._options import Argument, Option
from ._terminal import Progress
from ._train import open_pool


def card(
    *,
    weights: Annotated[str, Argument("weights, .safetensors")],
    evaluation: Annotated[tuple[str, ...], Option("files of evaluate --json", "JSON")],
    description: Annotated[str | None, Option("replace the card's description", "TEXT")] = None,
) -> None:
    """Add measured tables to a model's card.

    Write the means of 'recurrent-mz evaluate --json' files into the card of the weights that they
    were measured with. The weights stay as they are.
    """
    from ..networks.weights import load_model, save_model

    rows = [_row(Path(path)) for path in evaluation]
    path = Path(weights)
    model = load_model(path.resolve())
    # A new card makes a new file: the tables name the one that they were measured with.
    before = [*model.card.get("same_weights_as", []), model.sha256]
    told = {**model.card, "evaluation": rows, "same_weights_as": before}
    if description:
        told["description"] = description
    sha256 = save_model(model.network, told, path)
    print(f"{path}: card with {len(rows)} measured stacks, sha256 {sha256}")


def _row(path: Path) -> dict[str, Any]:
    """One stack: which planes were the scans, and the mean of every method."""
    import json

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


def validate(
    *,
    fields: Annotated[str, Argument("held-out fields", "FOLDER")],
    questions: Annotated[int, Option("cases asked of each field, 1 to 8")] = 8,
    json: Annotated[str | None, Option("write every value here")] = None,
    network: NetworkOptions,
) -> None:
    """Gain of a model over linear MMSE on held-out simulated fields.

    Ask a model for planes of fields that 'recurrent-mz simulate fields --held-out' has made, and
    print the decibels gained over the linear MMSE estimate.
    """
    from ..core.device import choose_device
    from ..io import write_json
    from ..networks.runner import network_on
    from ..networks.weights import load_model
    from ..training.check import ask, field_questions
    from ..training.sets import making_device

    check_json(json)
    model, device = load_model(network.model), choose_device(network.device)
    pool, each, asked = open_pool(fields), max(1, min(questions, 8)), network_on(model, device)
    where = making_device(device)
    with Progress("question") as progress:
        result = ask(
            asked,
            progress.over(field_questions(pool, asked.config, where, each), each * len(pool)),
            half=device.half,
        )
    print(f"model {model.name} (sha256 {model.sha256[:12]}), {result.questions} questions")
    print("gain over linear MMSE, dB of mean squared error, ± its standard error")
    for part in (result.by_kind, result.by_case):
        print()
        for name, gain in part.items():
            error = result.errors.get(name)
            print(f"  {name:<24}{gain:+8.3f}" + ("" if error is None else f" ± {error:.3f}"))
    print(f"\n  {'all':<24}{result.gain_db:+8.3f}\n  {'worst question':<24}{result.worst_db:+8.3f}")
    if json:
        write_json(json, asdict(result))
