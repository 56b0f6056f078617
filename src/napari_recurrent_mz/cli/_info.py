"""``recurrent-mz info``: what is installed, or what files state."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, metadata, version
from typing import Annotated, Any

from ..core.device import choose_device
from ..core.scans import InputError, listed
from ..io import ImageFile, check_readable, z_from_name
from ..io._optics import OPTICS
from ..io._parts import Content, Part, contents_of, read_part
from ._options import Argument

_WIDTH = 36  # characters of what a fact is called
_NAMED = 3  # positions that state the same, by their names


def info(*, files: Annotated[tuple[str, ...], Argument("image files or OME-Zarrs")] = ()) -> None:
    """Versions, device and bundled models; or what a file states.

    Print versions, device, bundled models and where to report a problem. With files, print what
    each of them states instead: axes, heights, pixel size and optics, and where that was found.
    """
    if files:
        _print_files(files)
        return
    import torch

    from ..networks.weights import bundled_models, load_model

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
    address = next(
        (by_name[key] for key in ("Bug Tracker", "Issues", "Source") if key in by_name), ""
    )
    return f"at {address}" if address else "where you have the package from"


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


def _print_files(paths: Sequence[str]) -> None:
    """Print what is understood of files; what cannot be read does not hold up the others."""
    troubles = []
    for path in paths:
        try:
            for line in _file_lines(path):
                print(line)
        except InputError as error:
            troubles.append(str(error))
            if len(paths) > 1:
                print(f"{path}\n  {error}")
    if troubles:
        several = f"{len(troubles)} of {len(paths)} files cannot be read, see above."
        raise InputError(troubles[0] if len(paths) == 1 else several)


def _file_lines(path: str) -> Iterator[str]:
    """Everything that is understood of a file; no pixel is read."""
    check_readable(path)
    contents = contents_of(path)
    yield f"{path}: {len(contents)} positions" if len(contents) > 1 else path
    if not contents:
        yield "  no image begins in it: give the first file of its set"
    alike: dict[tuple[str, ...], list[str]] = {}
    for number, content in enumerate(contents):
        name = f"{number} ({content.inside})" if content.inside != str(number) else str(number)
        lines = (content.trouble,) if content.trouble else tuple(_content_lines(content))
        alike.setdefault(lines, []).append(name)
    for lines, names in alike.items():
        if len(contents) > 1:
            more = [f"{len(names) - _NAMED} more"] if len(names) > _NAMED + 1 else names[_NAMED:]
            what = "positions" if len(names) > 1 else "position"
            yield f"{what} {listed([*names[:_NAMED], *more])}"
        yield from (f"  {line}" for line in lines)


def _content_lines(content: Content) -> Iterator[str]:
    shape = zip(content.axes, content.shape, strict=True)
    yield _row("axes", " × ".join(f"{axis} {length}" for axis, length in shape))
    time = 0 if content.length("T") > 1 else None
    channels = range(content.length("C"))
    several = len(channels) > 1
    for channel in channels:
        part = Part(content.path, content.inside, time, channel if several else None)
        image = read_part(part, ())
        if several:
            yield f"channel {channel} ({image.channel})" if image.channel else f"channel {channel}"
        if time == 0 and image.time_step_s is not None:
            stated = f"{image.time_step_s:g} s ({image.sources['time_step_s']})"
            yield _row("from one time point to the next", stated)
        yield from _image_lines(image)


def _image_lines(image: ImageFile) -> Iterator[str]:
    """Heights and optics, each with where it is from, or why it is not known."""
    many = image.n_planes > 1
    yield _row("heights" if many else "height", _heights(image))
    for option, name, words, _ in OPTICS:
        value = getattr(image, name)
        unit = " µm" if name.endswith("_um") else ""
        stated = f"{value:g}{unit} ({image.sources[name]})" if value is not None else ""
        yield _row(words, stated or _unknown(image, name, option))
    for remark in image.remarks:
        yield f"note: {remark}"


def _heights(image: ImageFile) -> str:
    many = image.n_planes > 1
    if image.z_um is None:
        named = None if many else z_from_name(image.name)
        if named is not None:
            return f"{named:g} µm (its name)"
        return _unknown(image, "z_um", "--z-step-um" if many else "--z")
    first, last, where = image.z_um[0], image.z_um[-1], image.sources["z_um"]
    if not many:
        return f"{first:g} µm ({where})"
    step = "unevenly spaced" if image.z_step_um is None else f"{image.z_step_um:.6g} µm apart"
    return f"{first:g} to {last:g} µm, {step} ({where})"


def _unknown(image: ImageFile, name: str, option: str) -> str:
    why = image.doubts.get(name)
    return f"not sure, for {why}: give {option}" if why else f"not stated: give {option}"


def _row(words: str, value: str) -> str:
    return f"{words:{_WIDTH}}{value}"
