"""Row 9: weights files changed in one bit, or beside the card of another file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np

from napari_recurrent_mz.core.scans import InputError
from napari_recurrent_mz.networks import weights
from napari_recurrent_mz.networks.weights import bundled_models, load_model, save_model

WHAT = "weights with one bit changed, beside their card or alone; the card of another file"
GOAL = "each refused in one line that names the file"


def measure(quick: bool) -> tuple[str, bool]:
    """Change bits of the bundled files at random; give each the card of each other."""
    bundled = Path(str(files(weights.__package__) / "weights_data"))
    bits, refused_bits, cards, refused_cards = 0, 0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.safetensors"
        card = path.with_suffix(".json")
        for name in bundled_models():
            of_all = {other: (bundled / f"{other}.json").read_bytes() for other in bundled_models()}
            whole = (bundled / f"{name}.safetensors").read_bytes()
            for other, text in of_all.items():
                path.write_bytes(whole)
                card.write_bytes(text)
                if other == name:
                    assert load_model(path).name == name  # what is whole is not refused
                else:
                    cards, refused_cards = cards + 1, refused_cards + is_refused(path)
            card.write_bytes(of_all[name])
            for changed in changes(whole, 3 if quick else 25):
                path.write_bytes(changed)
                bits, refused_bits = bits + 1, refused_bits + is_refused(path)
            save_model(load_model(name).network, {}, path)
            card.unlink()
            for changed in changes(path.read_bytes(), 3 if quick else 25):
                path.write_bytes(changed)
                bits, refused_bits = bits + 1, refused_bits + is_refused(path)
    figure = f"{refused_bits} of {bits} changed bits and {refused_cards} of {cards} cards refused"
    return figure, (refused_bits, refused_cards) == (bits, cards)


def changes(whole: bytes, count: int) -> Iterator[bytes]:
    """The bytes of a file with one bit changed, every other one in the header and card."""
    rng = np.random.default_rng(9)
    for number in range(count):
        changed = bytearray(whole)
        changed[int(rng.integers(len(whole) if number % 2 else 4096))] ^= 1 << rng.integers(8)
        yield bytes(changed)


def is_refused(path: Path) -> bool:
    """Whether loading says in one line what is wrong with this file."""
    try:
        load_model(path)
    except InputError as error:
        return path.stem in str(error) and "\n" not in str(error)
    return False
