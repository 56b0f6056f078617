"""Method, model and device, which is named, and how much of a GPU's memory may be used."""

from __future__ import annotations

import contextlib
import math
import os
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QComboBox, QFileDialog

from ...core.device import CHOICES, choose_device, gpu_memory_limit, limit_gpu_memory, map_torch
from ...core.errors import InputError, if_possible
from ...core.methods import DEFAULT_METHOD, DOCK_METHODS, METHOD_NAMES, Method, image_made
from ...engine.recipe import Recipe
from . import settings
from .form import FormPanel, asked
from .guard import on, one_shot
from .parts import DecimalBox
from .worker import in_background

_GROUP, _NAME = "gpu", "memory_gb"
_MOST_GB = 1024.0
MEMORY_TIP = (
    "The most of the GPU's memory that may be used, for instance while the microscope's own "
    "software needs the same GPU; what would need more is made in smaller parts, a little "
    "slower. 0 is no limit"
)
NETWORK = "recurrent-mz"
_PAINTED_MS = 100  # the dock is seen before torch is loaded, which keeps the window waiting
_MOST_OWN = 8  # models that are remembered
_DEVICE_TITLES = {"cuda": "GPU", "mps": "GPU", "cpu": "CPU"}


class GpuMemory(QObject):
    """The limit in GB that a person has set; 0 is none, or the one given at program start."""

    changed = Signal(float)

    def __init__(self) -> None:
        super().__init__()
        self.given = if_possible(gpu_memory_limit)  # told by whoever looks for a GPU
        self.gigabytes = 0.0 if self.given else _remembered_gb()
        with contextlib.suppress(InputError):
            self.apply()

    def set(self, gigabytes: float) -> None:
        """Take a limit, which :meth:`apply` may refuse, and tell every open dock."""
        if gigabytes == self.gigabytes:
            return
        self.gigabytes = gigabytes
        with contextlib.suppress(InputError):
            self.apply()
            settings.remember(_GROUP, {_NAME: f"{gigabytes:g}"})
        self.changed.emit(gigabytes)

    def apply(self) -> None:
        """Let the limit be in force; InputError if it is too little to work with."""
        try:
            limit_gpu_memory(self.gigabytes or self.given)
        except InputError as error:
            sentence = str(error).removesuffix(".")
            raise InputError(f"{sentence}, or 0 for all that is free.") from error


@lru_cache(maxsize=1)
def gpu_memory() -> GpuMemory:
    """The one limit of this process."""
    return GpuMemory()


class GpuMemoryField(DecimalBox):
    """Shows the limit, and sets it."""

    def __init__(self) -> None:
        super().__init__(0.0, _MOST_GB)
        self._memory = gpu_memory()
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSuffix(" GB")
        given = self._memory.given
        self.setSpecialValueText(
            f"{given:g} GB, as given at start" if given else "All that is free"
        )
        self.setValue(self._memory.gigabytes)
        on(self, self.valueChanged, self._memory.set)
        self._memory.changed.connect(self.setValue)


def _remembered_gb() -> float:
    try:
        gigabytes = float(settings.remembered(_GROUP, _NAME) or 0)
    except ValueError:
        return 0.0
    return min(gigabytes, _MOST_GB) if math.isfinite(gigabytes) and gigabytes > 0 else 0.0


@dataclass(frozen=True)
class Survey:
    """What this computer and this installation offer."""

    devices: tuple[tuple[str, str], ...]  # pairs of choice (auto, cuda, mps, cpu) and name
    models: tuple[tuple[str, str], ...]  # pairs of name and what it was trained for


def survey() -> Survey:
    """Look for devices and bundled models; imports torch, so call it in a thread."""
    map_torch()
    from ...engine import inference  # noqa: F401  # loaded here, so that the window never waits
    from ...networks.weights import DEFAULT, bundled_models, card_beside

    devices = []
    for choice in CHOICES:
        if device := if_possible(choose_device, choice):
            title = f"{_DEVICE_TITLES[device.kind]}: {device.name}"
            devices.append((choice, f"Auto, {title}" if choice == "auto" else title))
    models = ((name, str(card_beside(name)["description"])) for name in bundled_models(DEFAULT))
    return Survey(tuple(devices), tuple(models))


class OwnModels(QObject):
    """Models of the user's own, offered beside the bundled ones and kept between runs."""

    added = Signal(str)

    def paths(self) -> list[str]:
        """Those that are still there."""
        text = settings.remembered("models", "own") or ""
        is_there = os.path.isfile  # also of a folder that is closed to us
        return list(filter(is_there, text.splitlines()))

    def add(self, path: str) -> None:
        """Remember a weights file and tell every open dock."""
        others = [other for other in self.paths() if other != path]
        settings.remember("models", {"own": "\n".join([path, *others][:_MOST_OWN])})
        self.added.emit(path)


OWN_MODELS = OwnModels()  # the one list of this process


def model_named(name: str | None) -> Any:
    """Load a model; in a thread, because it imports torch."""
    from ...networks.weights import load_model

    return load_model(name)


@dataclass(frozen=True)
class MethodFields:
    """How volumes are made, and where."""

    method: str = asked(
        "Method",
        "How the planes between the scans are found",
        DEFAULT_METHOD,
        choices={key: method.title for key, method in DOCK_METHODS.items()},
    )
    model: str = asked(
        "Model", "The trained network; “Other file…” opens a .safetensors file", choices={}
    )
    device: str = asked(
        "Device",
        "Where the network or linear MMSE runs",
        "auto",
        choices={"auto": "Looking for a GPU…"},
    )
    memory: float = asked("GPU memory", MEMORY_TIP, widget=GpuMemoryField)


class MethodPanel(FormPanel):
    """Three choices, and a GPU's memory; ``changed`` follows each."""

    def __init__(self) -> None:
        super().__init__(MethodFields)
        self.model: Any = None
        self._used = ""  # the choice that it belongs to
        self.is_ready = False
        self._wanted_device = settings.remembered("method", "device") or "auto"
        look_around = partial(in_background, self, survey, then=self._surveyed)
        soon = one_shot(self, _PAINTED_MS, look_around)
        self.method, self.models, self.devices, self.memory = (
            widget.native for widget in self.form
        )
        for number, method in enumerate(DOCK_METHODS.values()):
            self.method.setItemData(number, method.tip, Qt.ItemDataRole.ToolTipRole)
        self._select(self.method, settings.remembered("method", "method") or DEFAULT_METHOD)
        on(self, self.method.currentIndexChanged, self._method_changed)
        on(self, self.models.activated, self._model_chosen)
        self.devices.activated.connect(self.changed)
        on(self, self.devices.currentIndexChanged, self._device_changed)
        self.memory.valueChanged.connect(self.changed)
        self._method_changed()
        self._device_changed()
        on(self, OWN_MODELS.added, self.offer_model)
        one_shot(self, 0, soon.start).start()  # once the dock has all its parts

    def method_key(self) -> str:
        """The chosen method as ``inference.METHODS`` calls it."""
        return str(self.method.currentData())

    def device_choice(self) -> str:
        """auto, cuda, mps or cpu; on a GPU its memory is limited from now on."""
        if self.is_on_gpu():
            gpu_memory().apply()
        return self._device()

    def model_name(self) -> str | None:
        """Name or path of the chosen model; None is the default one."""
        value = self.models.currentData()
        return str(value) if value else None

    def needed(self, method: Method) -> tuple[str | None, str]:
        """The model and the device that a method is made with: none, and the CPU, by default."""
        model = self.model_name() if method.needs_model else None
        return model, self.device_choice() if method.needs_optics else "cpu"

    def with_weights(self, recipe: Recipe) -> Recipe:
        """A recipe with its weights as they are loaded."""
        return replace(recipe, model=self.model if recipe.chosen.needs_model else None)

    def title(self, method: str) -> str:
        """What a result is called: its method, and whether its planes are confocal-like."""
        confocal = image_made(method, self.model) == "confocal"
        return METHOD_NAMES[method] + (" (confocal-like)" if confocal else "")

    def set_method(self, key: str) -> None:
        self._select(self.method, key)

    def set_device(self, choice: str) -> None:
        """Choose a device: auto, cuda, mps or cpu; auto when it is not there."""
        self._wanted_device = choice
        self._select(self.devices, choice)

    def is_on_gpu(self) -> bool:
        """Whether the chosen device is a GPU whose memory can be limited."""
        has_one = self.devices.findData("cuda") >= 0
        return has_one and self._device() in ("auto", "cuda")  # auto takes it

    def remember(self) -> None:
        settings.remember("method", {"method": self.method_key(), "device": self._device()})

    # inside -----------------------------------------------------------------------
    def _device(self) -> str:
        return str(self.devices.currentData() or "auto")

    def _surveyed(self, offers: Survey) -> None:
        self.devices.clear()
        for choice, title in offers.devices:
            self.devices.addItem(title, choice)
            self.devices.setItemData(self.devices.count() - 1, title, Qt.ItemDataRole.ToolTipRole)
        self._select(self.devices, self._wanted_device)
        self._device_changed()
        self.models.clear()
        for name, tip in (*offers.models, *((path, path) for path in OWN_MODELS.paths())):
            self.models.addItem(Path(name).name, name)
            self.models.setItemData(self.models.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self.models.addItem("Other file…", "")
        self.is_ready = True
        self._load(self.model_name())
        self.changed.emit()

    def _load(self, name: str | None) -> None:
        if self.models.count() > 1 or name:
            self._used = name or ""
            in_background(self, model_named, name, then=self._loaded, failed=self._not_loaded)

    def _loaded(self, model: Any) -> None:
        self.model = model
        self.changed.emit()

    def _not_loaded(self, sentence: str) -> None:
        """A file that is not ours: back to the default model."""
        number = self.models.currentIndex()
        if Path(str(self.models.itemData(number))).suffix:
            self.models.removeItem(number)
            self.models.setCurrentIndex(0)
            self._load(self.model_name())
        raise InputError(sentence)

    def _model_chosen(self, number: int) -> None:
        if self.models.itemData(number) != "":
            self._load(self.model_name())
            return
        self._select(self.models, self._used)
        path, _ = QFileDialog.getOpenFileName(self, "Open a model", "", "Models (*.safetensors)")
        if path:
            self.open_model(path)

    def open_model(self, path: str) -> None:
        """Use a model of the user's own."""
        self.models.insertItem(0, Path(path).name, path)
        self.models.setCurrentIndex(0)
        self._load(path)

    def offer_model(self, path: str) -> None:
        """Put a model of the user's own among the choices."""
        if self.is_ready and self.models.findData(path) < 0:
            self.models.insertItem(self.models.count() - 1, Path(path).name, path)

    def only_model(self, title: str) -> None:
        """Leave the choice of the method out: the network it is, and ``title`` its name."""
        self._select(self.method, NETWORK)
        self.form.show_fields("method", False)
        self.form.model.label = title
        self.models.setAccessibleName(title)

    def _method_changed(self) -> None:
        method = DOCK_METHODS[self.method_key()]
        self.form.enable_fields("model", method.needs_model)
        self.form.enable_fields("device memory", method.needs_optics)
        self.method.setToolTip(method.tip)
        self.changed.emit()

    def _device_changed(self) -> None:
        self.form.show_fields("memory", self.is_on_gpu())

    @staticmethod
    def _select(combo: QComboBox, key: str) -> None:
        combo.setCurrentIndex(max(combo.findData(key), 0))
