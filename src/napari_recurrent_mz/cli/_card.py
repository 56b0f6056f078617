"""``recurrent-mz card``, ``package`` and ``validate``: what a model reaches, and passing it on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ..core.device import Device, choose_device
from ..core.scans import InputError
from ..io import write_json
from ..io._whole import read_json
from ._common import OUTPUT, NetworkOptions, check_json, folder_of
from ._options import Argument, Option, Written
from ._terminal import Progress
from ._train import open_pool

if TYPE_CHECKING:
    from ..networks.recurrent_mz import NetworkConfig
    from ..training.check import Question


def card(
    *,
    weights: Annotated[str, Argument("weights, .safetensors")],
    evaluation: Annotated[tuple[str, ...], Option("files that evaluate --json wrote", "JSON")],
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
    extended = {**model.card, "evaluation": rows, "same_weights_as": before}
    if description:
        extended["description"] = description
    sha256 = save_model(model.network, extended, path)
    print(f"{path}: card with {len(rows)} measured stacks, sha256 {sha256}")


def _row(path: Path) -> dict[str, Any]:
    """One stack: which planes were the scans, and the mean of every method."""
    try:
        evaluation = read_json(path)
        means = {
            name: {measure: round(value, 4) for measure, value in scores["mean"].items()}
            for name, scores in evaluation["methods"].items()
        }
        return {"stack": evaluation["stack"], "planes": evaluation["planes"], **means}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"'{path.name}' is not a result of recurrent-mz evaluate --json: give such a file."
        ) from error


def package(
    *,
    model: Annotated[str, Argument("bundled model or safetensors file")],
    output: Annotated[str, Written("file for the package, .zip", names=OUTPUT)],
) -> None:
    """Write a model as a package for bioimage.io.

    Write a model with its description, its weights, and tensors to test it with, in the format of
    bioimage.io. A program that runs it needs this package, too: it holds the architecture.
    """
    from ..networks.bioimage import write_package
    from ..networks.weights import load_model

    path = write_package(load_model(model), folder_of(output))
    print(f"{path}: package of the model '{model}' for bioimage.io")


def validate(
    *,
    fields: Annotated[str, Argument("held-out fields, or a folder of examples", "FOLDER")],
    questions: Annotated[int, Option("questions for each field, 1 to 8")] = 8,
    json: Annotated[str | None, Written("write every value to this file")] = None,
    network: NetworkOptions,
) -> None:
    """Measure the gain of a model over linear MMSE on held-out simulated samples.

    Ask a model for planes of fields that 'recurrent-mz simulate fields --held-out' has made, or for
    those of the check that 'recurrent-mz simulate examples' has made, and print the decibels gained
    over the linear MMSE estimate.
    """
    from ..networks.runner import network_on
    from ..networks.weights import load_model
    from ..training.check import ask

    check_json(json)
    model, device = load_model(network.model), choose_device(network.device)
    trained = network_on(model, device)
    count, sample = _questions(fields, trained.config, device, max(1, min(questions, 8)))
    with Progress("question") as progress:
        result = ask(trained, progress.over(sample, count), half=device.half)
    print(f"model {model.name} (sha256 {model.sha256[:12]}), {result.questions} questions")
    print("gain over linear MMSE, dB of mean squared error, ± its standard error")
    for part in (result.by_kind_db, result.by_case_db):
        print()
        for name, gain in part.items():
            error = result.errors_db.get(name)
            print(f"  {name:<24}{gain:+8.3f}" + ("" if error is None else f" ± {error:.3f}"))
    print(f"\n  {'all':<24}{result.gain_db:+8.3f}\n  {'worst question':<24}{result.worst_db:+8.3f}")
    if json:
        write_json(json, asdict(result))


def _questions(
    folder: str, network: NetworkConfig, device: Device, each: int
) -> tuple[int, Iterator[Question]]:
    """What there is to ask a network: of examples their check, of every field so many questions."""
    from ..training.check import field_questions
    from ..training.folder import ExampleFolder
    from ..training.sets import making_device

    path = Path(folder)
    if ExampleFolder.is_at(path):
        examples = ExampleFolder.open(path)
        examples.require(network)
        return len(examples.asked), examples.questions()
    pool = open_pool(folder)
    pool.require()
    return each * len(pool), field_questions(pool, network, making_device(device), each)
