"""Trained weights with their model cards: safetensors only, nothing downloaded, nothing unpickled.

The card travels inside the file (as safetensors metadata) and, for the bundled models, stands
beside it as JSON with the file's SHA-256.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import torch

from ..core.scans import InputError
from ..io import write_json, write_whole
from .architectures import Network, architecture_of, build_as

FORMAT = "napari-recurrent-mz/1"
DEFAULT = "recurrent-mz"


@dataclass(frozen=True, eq=False)
class Model:
    """A network with its weights and what is known of them."""

    name: str
    sha256: str  #: of the weights file
    card: dict[str, Any]  #: the model card: data, range of optics, steps, hours, measured table
    network: Network  #: in evaluation mode, float32, on the CPU

    @property
    def architecture(self) -> str:
        """Which of :data:`~.ARCHITECTURES` the network is."""
        return architecture_of(self.network.config)


def bundled_models(architecture: str | None = None) -> list[str]:
    """Names of the models that come with the package, the default first.

    Parameters
    ----------
    architecture : str, optional
        Only those of this architecture.
    """
    folder = files(__package__) / "weights_data"
    ending = ".safetensors"
    names = [p.name.removesuffix(ending) for p in folder.iterdir() if p.name.endswith(ending)]
    if architecture is not None:
        names = [n for n in names if card_beside(n).get("architecture", DEFAULT) == architecture]
    return sorted(names, key=lambda name: (name != DEFAULT, name))


def card_beside(name: str) -> dict[str, Any]:
    """The card of a bundled model, without reading its weights."""
    card = files(__package__) / "weights_data" / f"{name}.json"
    read: dict[str, Any] = json.loads(card.read_text(encoding="utf-8"))
    return read


def load_model(name_or_path: str | Path | None = None) -> Model:
    """Load a bundled model by name, or a weights file by path.

    Parameters
    ----------
    name_or_path : str or Path, optional
        A name of :func:`bundled_models`, or a ``.safetensors`` file; by default the
        bundled Recurrent-MZ.

    Returns
    -------
    Model
        Loaded once per file and kept.

    Raises
    ------
    InputError
        If there is no such model, or the file is not one of ours.
    """
    name = str(name_or_path or DEFAULT)
    if name in bundled_models():
        with as_file(files(__package__) / "weights_data" / f"{name}.safetensors") as path:
            return _load(path, path.stat().st_mtime_ns)
    path = Path(name)
    if not path.is_file():
        raise InputError(
            f"There is no model '{name}': choose one of {', '.join(bundled_models())}, "
            "or give the path of a .safetensors file."
        )
    return _load(path.resolve(), path.stat().st_mtime_ns)


def save_model(network: Network, card: dict[str, Any], path: Path) -> str:
    """Write weights as float16 with their card, and the card beside them as JSON.

    Parameters
    ----------
    network : RecurrentMZ or PlainNetwork
    card : dict
        JSON-able; ``name``, the architecture and its configuration are added.
    path : Path
        Ends in ``.safetensors``.

    Returns
    -------
    str
        SHA-256 of the weights file.

    Raises
    ------
    InputError
        If the disk refuses; what was there before stays.
    """
    from safetensors.torch import save

    config = network.config
    identity = {"architecture": architecture_of(config), "network": config.as_dict()}
    card = {"name": path.stem, **card, **identity}
    tensors = {
        key: (value.half() if value.is_floating_point() else value).contiguous().cpu()
        for key, value in network.state_dict().items()
    }
    written = json.dumps(card, allow_nan=False)
    about = {"format": FORMAT, "card": written, "content_sha256": _content_sha256(written, tensors)}
    content, beside = save(tensors, metadata=about), path.with_suffix(".json")

    def write(part: Path) -> None:
        part.write_bytes(content)
        beside.unlink(missing_ok=True)  # it is the card of what is replaced

    write_whole(path, write)
    digest = _sha256(path)
    write_json(beside, {**card, "sha256": digest})
    return digest


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _content_sha256(card: str, tensors: dict[str, torch.Tensor]) -> str:
    """SHA-256 of the card and of every tensor: name, type, shape and values."""
    digest = hashlib.sha256(card.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


@lru_cache(maxsize=4)
def _load(path: Path, _changed: int) -> Model:
    card, tensors = _read(path)
    network = build_as(card.get("architecture", DEFAULT), card["network"])
    network.load_state_dict({key: value.float() if value.is_floating_point() else value
                             for key, value in tensors.items()})  # fmt: skip
    if not all(bool(torch.isfinite(p).all()) for p in network.parameters()):
        raise InputError(f"The weights in '{path.name}' hold NaN or infinity: choose others.")
    sha256 = _sha256(path)
    _check_card_beside(path, sha256)
    return Model(str(card.get("name", path.stem)), sha256, card, network.eval())


def _read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Card and tensors of a file that is whole and of our networks; or one sentence."""
    from safetensors import SafetensorError, safe_open

    wrong = InputError(
        f"'{path.name}' is not a Recurrent-MZ weights file: choose a bundled model or a "
        ".safetensors file written by recurrent-mz train."
    )
    try:
        with safe_open(path, "pt") as stream:
            about = stream.metadata() or {}
            if about.get("format") != FORMAT:
                raise wrong
            card = json.loads(about["card"])
            json.dumps(card, allow_nan=False)  # a ValueError where a number is none
            names = list(stream.keys())
            _check_fit(path, card, {name: stream.get_slice(name).get_shape() for name in names})
            tensors = {name: stream.get_tensor(name) for name in names}
    except InputError:
        raise
    except (SafetensorError, OSError, KeyError, ValueError, RecursionError) as error:
        raise wrong from error
    if about.get("content_sha256", "") not in ("", _content_sha256(about["card"], tensors)):
        raise InputError(
            f"The weights in '{path.name}' were changed after they were written (their checksum "
            f"is another): {_AGAIN}."
        )
    return card, tensors


_AGAIN = "take the file anew from where it came, or choose other weights"


def _check_fit(path: Path, card: Any, shapes: dict[str, list[int]]) -> None:
    """Refuse a card whose network has other tensors than the file, before either takes memory."""
    try:
        with torch.device("meta"):
            network = build_as(card.get("architecture", DEFAULT), card["network"])
        wanted = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
        ranges = card.get("trained_for", {}).values()
        good = wanted == shapes and all(float(low) <= float(high) for low, high in ranges)
    except (
        ArithmeticError,
        AttributeError,
        KeyError,
        TypeError,
        RuntimeError,
        ValueError,
    ) as error:
        raise _misfit(path) from error
    if not good:
        raise _misfit(path)


def _misfit(path: Path) -> InputError:
    return InputError(
        f"The weights in '{path.name}' do not fit this version's network: "
        "choose a bundled model or train again."
    )


def _check_card_beside(path: Path, sha256: str) -> None:
    """Refuse weights beside which the card of another file stands."""
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return
    try:
        stated = json.loads(beside.read_text(encoding="utf-8")).get("sha256", sha256)
    except (OSError, ValueError, AttributeError, RecursionError):
        stated = None
    if stated != sha256:
        raise InputError(
            f"'{path.name}' is not the file that its card '{beside.name}' describes (SHA-256): one "
            f"of the two was changed, or belongs elsewhere; {_AGAIN}."
        )
