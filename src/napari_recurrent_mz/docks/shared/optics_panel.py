"""The optics: NA, emission wavelength, refractive index and pixel size, with presets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from qtpy.QtWidgets import QComboBox

from ...core.errors import if_possible
from ...core.optics import ALIKE, Optics
from ...core.scans import InputError, listed
from .form import FormPanel, NumberEdit, as_named, asked, faint
from .guard import on


@dataclass(frozen=True)
class Objective:
    """A common objective: what a person calls it, its NA and its immersion index."""

    name: str
    na: float
    immersion_index: float


OBJECTIVES = (
    Objective("10×/0.3 air", 0.3, 1.0),
    Objective("10×/0.45 air", 0.45, 1.0),
    Objective("20×/0.5 air", 0.5, 1.0),
    Objective("20×/0.75 air", 0.75, 1.0),
    Objective("20×/0.8 air", 0.8, 1.0),
    Objective("25×/1.05 water", 1.05, 1.333),
    Objective("40×/0.95 air", 0.95, 1.0),
    Objective("40×/1.2 water", 1.2, 1.333),
    Objective("40×/1.3 oil", 1.3, 1.515),
    Objective("60×/1.2 water", 1.2, 1.333),
    Objective("60×/1.3 silicone", 1.3, 1.406),
    Objective("60×/1.4 oil", 1.4, 1.515),
    Objective("63×/1.4 oil", 1.4, 1.515),
    Objective("100×/1.4 oil", 1.4, 1.515),
    Objective("100×/1.45 oil", 1.45, 1.515),
    Objective("100×/1.49 oil", 1.49, 1.515),
)


@dataclass(frozen=True)
class OpticsFields:
    """What is asked for; the objective is a short cut to two of the others."""

    stored: ClassVar = as_named("objective na immersion_index wavelength_um pixel_um")
    objective: str = asked(
        "Objective",
        "Common objectives: sets NA and refractive index",
        "",
        choices={"": "Choose, or type below"} | {one.name: one.name for one in OBJECTIVES},
    )
    na: float | None = asked(
        "NA",
        "Numerical aperture of the objective, written on its barrel",
        example="1.4",
        of_image=True,
    )
    immersion_index: float | None = asked(
        "refractive index",
        "Refractive index of the immersion medium: air 1.0, water 1.333, oil 1.515",
        label="Refr. index",
        example="1.33",
        beside=True,
        of_image=True,
    )
    wavelength_um: float | None = asked(
        "emission wavelength",
        "Emission wavelength in µm; 519 or 519 nm is understood as 0.519 µm",
        label="Emission µm",
        example="0.52",
        is_wavelength=True,
        of_image=True,
    )
    pixel_um: float | None = asked(
        "pixel size",
        "Size of a pixel in the sample, in µm: camera pixel divided by magnification",
        label="Pixel µm",
        example="0.1",
        beside=True,
        of_image=True,
    )


_NAMES = ("na", "wavelength_um", "immersion_index", "pixel_um")
_LENS = {"objective", "na", "immersion_index"}

_IMAGE, _LAST_USED, _BEFORE = "from the image", "as last used", "as before"
_TYPED, _PRESET = "typed", "from the preset"
_LOOSE = (None, _IMAGE, _LAST_USED)  # what gives way to what an image says


class OpticsPanel(FormPanel):
    """Four fields and a list of objectives; ``changed`` follows every change of a value."""

    def __init__(self) -> None:
        super().__init__(OpticsFields, group="optics")
        self._stated: dict[str, float] = {}  # what the images in use say
        self.preset: QComboBox = self.form.objective.native
        self.fields: dict[str, NumberEdit] = {
            name: self.form[name].native for name in self.form.asks if name in _NAMES
        }
        self.note = faint()
        self.form.put_under("pixel_um", self.note)
        on(self, self.preset.activated, self._choose)
        for name, edit in self.fields.items():
            on(self, edit.edited, lambda name=name: self._edited(name))
        self._objective: str = self.form.objective.value
        self._source = {name: _LAST_USED for name, edit in self.fields.items() if edit.text()}
        self._show()

    def optics(self) -> Optics:
        """The optics; InputError if a value is missing, no number, or out of its range."""
        faults = [
            f"The {edit.accessibleName()} '{edit.text()}' is not a number: "
            f"type for instance {self.form.asks[name].example}."
            for name, edit in self.fields.items()
            if edit.is_text_wrong
        ]
        values = {n: v for n, e in self.fields.items() if (v := e.value()) is not None}
        missing = [name for name in _NAMES if not self.fields[name].text().strip()]
        if len(missing) > 1 or (faults and missing):  # of one alone, its example is told
            by_objective = {"na", "immersion_index"} <= set(missing)
            remedy = "start with the objective" if by_objective else "type what is missing"
            verb = "are" if len(missing) > 1 else "is"
            faults.append(f"The {listed(self._titles(missing))} {verb} missing: {remedy}.")
        if faults:
            raise InputError(" ".join(faults))
        return Optics(**{name: values.get(name, math.nan) for name in _NAMES})

    def known(self) -> Optics | None:
        """The optics, if they are complete and make sense."""
        return if_possible(self.optics)

    def pixel_um(self) -> float:
        """The pixel size alone, which every method needs."""
        value = self.fields["pixel_um"].value()
        if value is None:
            raise InputError("The pixel size is missing: type it in µm, for instance 0.103.")
        if value <= 0:
            raise InputError(f"The pixel size {value:g} µm is not above 0: correct it.")
        return value

    def set_values(
        self, values: Mapping[str, float | None], source: str, objective: str = ""
    ) -> None:
        """Fill in values by their names in :class:`~.Optics`, and note where they come from."""
        # ``objective`` is the preset to show when several have these values.
        self._objective = objective or self._objective
        stated = {k: float(v) for k, v in values.items() if k in self.fields and v is not None}
        for name, value in stated.items():
            self.fields[name].set_value(value)
            self.fields[name].replaced, self._source[name] = None, source
        if stated:
            self._show()
            self.changed.emit()

    def follow(self, images: Mapping[Any, Mapping[str, Any]]) -> None:
        """Show what the images in use say, and no longer what only others value."""
        # ``images`` holds what each says; the first that says a value has it. What a person set
        # stays while one of its images does, and else gives way to what others say.
        before = self._state()
        said = [(n, one[n]) for one in images.values() for n in _NAMES if one.get(n) is not None]
        self._stated = {name: float(value) for name, value in reversed(said)}  # the first has it
        for name, edit in self.fields.items():
            edit.follow(images)
            value = self._stated.get(name)
            source = self._source.get(name) if edit.text().strip() else None
            if value is not None and (edit.is_old or source in _LOOSE):
                (edit.set_value if source in _LOOSE else edit.replace)(value)
                self._source[name] = _IMAGE
            elif value is None and source == _IMAGE:
                edit.set_value(None)
                del self._source[name]
        self._show()
        if self._state() != before:
            self.changed.emit()

    def _state(self) -> list[tuple[str, str | None]]:
        return [(edit.text(), self._source.get(name)) for name, edit in self.fields.items()]

    def remember(self) -> None:
        """Keep what a person set for the next run; what an image says, the next one must say."""
        said = {name for name, source in self._source.items() if source == _IMAGE}
        lens = _LENS if said & _LENS else set()  # whole: NA and index are of one objective
        self.form.remember(said - lens, as_before=lens)

    # inside -----------------------------------------------------------------------
    def _titles(self, names: list[str]) -> list[str]:
        return [self.form.asks[name].name for name in names]

    def _edited(self, name: str) -> None:
        self._source[name] = _TYPED
        self._show()
        self.changed.emit()

    def _choose(self, number: int) -> None:
        if number:
            objective = OBJECTIVES[number - 1]
            self._objective = objective.name
            lens = {"na": objective.na, "immersion_index": objective.immersion_index}
            self.set_values(lens, _PRESET)

    def _show(self) -> None:
        """Select the preset that the values match, and say where the values come from."""
        na, index = self.fields["na"].value(), self.fields["immersion_index"].value()
        matches = [o.name for o in OBJECTIVES if (o.na, o.immersion_index) == (na, index)]
        if len(matches) > 1:  # 1.4 oil may be 60×, 63× or 100×: do not guess
            matches = [name for name in matches if name == self._objective]
        self.preset.setCurrentIndex(self.preset.findData(matches[0]) if matches else 0)
        groups: dict[str, list[str]] = {}
        for name in _NAMES:
            source = self._source.get(name, _TYPED)
            if self.fields[name].is_old and source not in _LOOSE:
                source = _BEFORE
            if source not in (_TYPED, _PRESET):
                groups.setdefault(source, []).append(name)
        parts = [
            f"{listed(self._titles(names))} {source}"
            + f" (check {'them' if len(names) > 1 else 'it'})" * (source in (_LAST_USED, _BEFORE))
            for source, names in groups.items()
        ]
        others = [
            f"{self.form.asks[name].name} {value:.4g}" + " µm" * name.endswith("_um")
            for name, value in sorted(self._stated.items(), key=lambda item: _NAMES.index(item[0]))
            if not math.isclose(self.fields[name].value() or value, value, rel_tol=ALIKE)
        ]
        parts += [f"the image says {listed(others)}"] if others else []
        text = "; ".join(parts)
        self.note.say(text[:1].upper() + text[1:])
