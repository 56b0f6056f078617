"""What layers and files are called, and asking a person for the name of a file."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QWidget

from ...io._image_file import stem_of
from . import settings

_LONGEST_STEM = 200  # bytes, of the 255 of a file's name


def common_name(names: Sequence[str]) -> str:
    """What the names of the scans begin with, without endings and loose marks."""
    unique = list(dict.fromkeys(names))
    text = os.path.commonprefix(unique)  # noqa: RUF071  # of characters, not of folders
    ends = {name[len(text) :][:1] for name in unique}
    is_whole = "" in ends and not any(end.isdigit() for end in ends)  # one that was repaired
    text = stem_of(text).removesuffix(".ome")
    if not is_whole:
        text = re.sub(r"[\W_]*(\bz|_z)?[\W_\d]*$", "", text, flags=re.IGNORECASE)
    return text.strip()


def joint_name(names: Sequence[str]) -> str:
    """One name for several layers: the words they begin or end with once, the others joined."""
    words = [name.split() for name in dict.fromkeys(names)]
    if len(words) < 2:
        return " ".join(names[:1])
    first = len(os.path.commonprefix(words))  # noqa: RUF071  # of words, not of folders
    rests = [each[first:] for each in words]
    last = len(os.path.commonprefix([rest[::-1] for rest in rests]))  # noqa: RUF071
    own = [" ".join(rest[: len(rest) - last]) for rest in rests]
    common = rests[0][len(rests[0]) - last :]
    return " ".join([*words[0][:first], " + ".join(filter(None, own)), *common])


def file_stem(name: str) -> str:
    """As much of a layer's name as a file can have in its own, before a number and an ending."""
    return name.encode(errors="replace")[:_LONGEST_STEM].decode(errors="ignore").strip(" .")


def last_folder() -> str:
    """The folder used last."""
    return settings.remembered("files", "folder") or str(Path.home())


def remember_folder(path: Path) -> None:
    """The folder of a file is where the next one is saved, or opened from."""
    settings.remember("files", {"folder": str(path.parent)})


def ask_for_file(
    parent: QWidget,
    title: str,
    name: str,
    kinds: str,
    use: Callable[[Path], object],
) -> None:
    """Ask where to save, in the folder used last; ``use`` gets the path, unless cancelled."""
    if chosen := chosen_file(parent, title, name, kinds):
        use(chosen[0])


def chosen_file(
    parent: QWidget, title: str, name: str, kinds: str, *, confirm: bool = True
) -> tuple[Path, str] | None:
    """A path in the folder used last, and which of ``kinds`` it is; None if cancelled."""
    stem = file_stem("".join(c if c.isalnum() or c in "+-_ " else "-" for c in name)) or "figure"
    asks = QFileDialog.Option(0) if confirm else QFileDialog.Option.DontConfirmOverwrite
    start = str(Path(last_folder()) / stem)
    chosen, kind = QFileDialog.getSaveFileName(parent, title, start, kinds, "", asks)
    if not chosen:
        return None
    path = Path(chosen)
    if not re.fullmatch(r"\.[A-Za-z]\w*", path.suffix):  # what follows a decimal point is no ending
        ending = re.search(r"\*([^ )]*)", kind)
        path = path.with_name(path.name + (ending[1] if ending else ""))
    remember_folder(path)
    return path, kind
