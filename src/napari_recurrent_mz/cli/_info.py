"""``recurrent-mz info``: what is installed, or what is understood of files."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, metadata, version
from typing import Annotated, Any

from ._options import Argument


def info(*, files: Annotated[tuple[str, ...], Argument("TIFFs or OME-Zarrs")] = ()) -> None:
    """Versions, device and bundled models; or what is understood of a file.

    Print versions, device, bundled models and where to report a problem. With files, print what is
    understood of each instead: axes, heights, pixel size, optics, and from where.
    """
    if files:
        from ._file_info import print_info

        print_info(files)
        return
    import torch

    from ..device import choose_device
    from ..weights import bundled_models, load_model

    device = choose_device()
    precision = "mixed precision" if device.half else "float32"
    print(f"napari-recurrent-mz {_version('napari-recurrent-mz')}")
    print(f"Python {platform.python_version()} on {platform.platform()}")
    print(f"torch {torch.__version__}, napari {_version('napari')}")
    print(f"device {device.kind}: {device.name}, {precision}")
    names = bundled_models()
    if not names:
        print("no bundled model")
    for name in names:
        model = load_model(name)
        print(f"\nmodel {model.name} (sha256 {model.sha256[:16]})")
        for line in _card_lines(model.card):
            print(f"  {line}")
    print(f"\nReport a problem {_report_to()}, with the text above.")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _report_to() -> str:
    urls = metadata("napari-recurrent-mz").get_all("Project-URL") or []
    by_name = dict(url.split(", ", 1) for url in urls)
    found = next(
        (by_name[key] for key in ("Bug Tracker", "Issues", "Source") if key in by_name), ""
    )
    return f"at {found}" if found else "where you have the package from"


_LONG = ("config", "network")  # every setting of a training: in the JSON beside the weights


def _card_lines(card: dict[str, Any]) -> list[str]:
    """The card in short, a line an entry: what it was trained for and with, what it reaches."""
    lines: list[str] = []
    for key, value in card.items():
        if key in _LONG:
            continue
        if isinstance(value, list) and value and isinstance(value[0], dict):
            lines += [f"{_words(key)}:", *(f"  {_plain(row)}" for row in value)]
        else:
            lines.append(f"{_words(key)}: {_plain(value)}")
    return lines


def _words(key: str) -> str:
    return key.replace("_", " ")


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        inner = (
            (k, f"({_plain(v)})" if isinstance(v, dict) else _plain(v))
            for k, v in value.items()
            if k not in _LONG
        )
        return "; ".join(f"{_words(k)} {v}" for k, v in inner)
    if isinstance(value, list):
        numbers = len(value) == 2 and all(isinstance(v, int | float) for v in value)
        return (" to " if numbers else ", ").join(map(_plain, value))
    return str(value)
