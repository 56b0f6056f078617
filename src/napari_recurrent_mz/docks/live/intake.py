"""Scans by hand: layers that are selected, files that are dropped, heights that are typed."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from napari.layers import Layer

from ...core.arrays import AnyArray
from ...core.scans import InputError, Scan, check_image, listed, scan_facts
from ...io import z_from_name
from ..files.reader import is_session_path
from ..shared import drop as _drop
from ..shared import layers as _layers
from ..shared.dock import Dock
from ..shared.guard import telling
from ..shared.layer_choice import LayerChoice, selected
from ..shared.places import plane_at
from ..shared.scan_source import ScanSource
from ..shared.worker import in_background
from .files import LiveFiles
from .layer import LiveLayer
from .pages import ABOUT_SCANS, LEAVE_OUT, USE_HEIGHT, LivePages, QuestionBox
from .work import Add, LiveRun, ScanQuestion


@dataclass(frozen=True, eq=False)
class Candidate:
    """An image that may become a scan, once its height is known."""

    pixels: AnyArray  # (Y, X)
    name: str
    z_um: float | None
    pixel_um: float | None
    known: Mapping[str, Any] = field(default_factory=dict)  # what it says of optics and place

    def __post_init__(self) -> None:
        """Refuse what can be no scan before it waits for one."""
        check_image(self.pixels, f"'{self.name}'")

    def add(self) -> Add:
        """What a session is asked."""
        assert self.z_um is not None  # asked for before
        acquired = scan_facts(self.known)
        return Add(Scan(self.pixels, self.z_um, self.name, acquired), self.pixel_um)


def of_layer(layer: Layer, viewer: Any) -> Candidate:
    """An image layer; of a stack, the plane in view; InputError if none can be taken from it."""
    image = _layers.check_scan_layer(layer)
    heights, _ = _layers.heights_um(image)
    count, plane = _layers.plane_count(image), 0
    if count > 1:
        if viewer.dims.ndisplay == 3:
            raise InputError(
                f"Layer '{layer.name}' is a stack of {count} planes shown in 3-D: show it in 2-D, "
                "and the plane in view is the scan."
            )
        plane = min(max(round(plane_at(viewer, image)), 0), count - 1)
    origin_um = _layers.lateral_origin_um(image)
    place = {"origin_um": origin_um} if any(origin_um) else {}
    return Candidate(
        _layers.plane_pixels(image, plane),
        _layers.plane_name(image, plane),
        None if heights is None else float(heights[plane]),
        _layers.pixel_um(image),
        _layers.image_optics(image) | place,
    )


def of_file(image: Any) -> Candidate:
    """An image file that was read; InputError if it is a stack."""
    if image.n_planes > 1:
        raise InputError(
            f"'{image.name}' is a stack of {image.n_planes} planes: open it in napari, and add "
            "its plane in view as a scan."
        )
    z_um = z_from_name(image.name) if image.z_um is None else float(np.ravel(image.z_um)[0])
    known = _layers.file_metadata(image) | {"channel": image.channel, "origin_um": image.origin_um}
    return Candidate(image.stack[0], image.name, z_um, image.pixel_um, known)


class ScanIntake(Dock):
    """Takes images as scans for a session; before there is one, they wait for it."""

    pages: LivePages
    question: QuestionBox
    live: LiveRun
    files: LiveFiles
    volume: LiveLayer | None
    waiting: list[Candidate]
    dropped_files = ScanSource.dropped_files

    def add_selected(self) -> None:
        """Take the layers that are selected in napari's layer list as scans."""
        chosen = selected(self._viewer)
        volume = None if self.volume is None else self.volume.layer
        edit = self.pages.setup.sources.rows.height_um
        with telling(self):
            if not chosen:
                raise InputError("No layer is selected: click an image in the layer list.")
            if edit.is_text_wrong:
                raise InputError(f"The height '{edit.text()}' is not a number: type it in µm.")
            if edit.value() is not None and len(chosen) > 1:
                raise InputError("One height is typed but several layers are selected: choose one.")
            if volume is not None and volume in chosen:
                raise InputError(f"'{volume.name}' is the volume of this session: select a scan.")
            if self._offer_all(chosen, partial(of_layer, viewer=self._viewer), edit.value()):
                edit.set_value(None)

    def drop(self, paths: Sequence[Any], _at: LayerChoice | None = None) -> None:
        """Read files and take them as scans; a session that was saved is opened."""
        if len(paths) == 1 and is_session_path(paths[0]):
            self.files.open_from(paths[0])
            return
        self.say("Reading…")
        in_background(self, _drop.read_all, list(paths), then=self._read)

    def offer(self, candidate: Candidate, z_um: float | None = None) -> None:
        """Take an image as a scan; its height is asked for when neither it nor ``z_um`` says it."""
        if z_um is not None:
            candidate = replace(candidate, z_um=z_um)
        if self.live.session is None:
            self._let_wait(candidate)
        elif candidate.z_um is None:
            self.question.ask(
                f"At which height was '{candidate.name}' taken?",
                (USE_HEIGHT, LEAVE_OUT),
                lambda key, height: self.offer(candidate, height) if key else None,
                wants_height=True,
                about=candidate.name,
            )
        else:
            self.live.work.add(candidate.add())

    def offer_waiting(self) -> None:
        """Take the images that waited for the session."""
        waiting, self.waiting = self.waiting, []
        for candidate in waiting:
            with telling(self):
                self.offer(candidate)

    def ask_about(self, question: ScanQuestion) -> None:
        """Ask what to do with a scan that the session has not taken."""
        choices = [*(ABOUT_SCANS[key] for key in question.choices), LEAVE_OUT]

        def answered(key: str, _height: float | None) -> None:
            if key:
                self.live.work.add(question.add.answered(key))

        self.question.ask(question.sentence, choices, answered)

    def _let_wait(self, candidate: Candidate) -> None:
        """Before the session: the image fills in what it knows, and is taken at the start."""
        setup = self.pages.setup
        self.waiting.append(candidate)
        self.follow_images({weakref.ref(one): one.known for one in self.waiting})
        heights = [one.z_um for one in self.waiting if one.z_um is not None]
        optics = setup.optics.known()
        setup.grid.follow(heights, None if optics is None else optics.depth_of_field_um)
        names = listed([f"'{one.name}'" for one in self.waiting])
        verb = "waits" if len(self.waiting) == 1 else "wait"
        self.say(f"{names} {verb}: start the session to take what waits as scans.")
        self.check()

    def _read(self, result: tuple[list[Any], list[str]]) -> None:
        images, sentences = result
        self._offer_all(images, of_file, files=images, sentences=sentences)

    def _offer_all(
        self,
        things: Iterable[Any],
        candidate_of: Callable[[Any], Candidate],
        z_um: float | None = None,
        *,
        files: Sequence[Any] = (),
        sentences: Sequence[str] = (),
    ) -> bool:
        """Take what can be a scan, and say why the rest could not; whether there was no rest."""
        self.say("")
        refused = list(sentences)
        for thing in things:
            with _drop.noting(refused):
                self.offer(candidate_of(thing), z_um)
        words, kind = _drop.said_of(files, refused)
        if words:
            self.say(f"{words} {self.footer.message.text()}".strip(), kind)
        return not refused
