"""What the experiments work with: simulated microscopes and samples, weights, and planes."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from ...cli._lab import Sizes
from ...cli._options import option_name
from ...core.arrays import AnyArray, Array
from ...core.device import Device, choose_device
from ...core.methods import METHOD_NAMES, METHODS, method_of
from ...core.metrics import Normalisation, nrmse, psnr, ssim
from ...core.optics import Optics
from ...core.scans import FloatArray, Scan, ZGrid
from ...engine.inference import iter_planes, model_for
from ...engine.tiles import NetworkPlanes
from ...networks.weights import Model, bundled_models, load_model
from ...simulation.phantoms import phantom
from ...simulation.simulate import Camera, Imaging, imaging


@dataclass(frozen=True)
class Settings(Sizes):
    """How large the experiments are, and what they are given."""

    # plane distance of the simulated stacks, in micrometres (the paper's is 0.2)
    z_step_um: float = 0.2
    every_um: float = 0.6  # distance between the planes that are judged, in micrometres
    crop: int = 256  # largest side, in pixels, of what the random sets see of a real stack
    real_size: int = 4096  # the same for the planes as stated
    data: Path | None = None  # folder of real, fully sampled stacks
    # weights by what they serve: a method's name, or what an experiment asks for
    weights: Mapping[str, str] = field(default_factory=dict)
    device: str = "auto"  # auto, cuda, mps or cpu

    def command(self, usual: Settings) -> str:
        """What to type to get the same, without where things lie on this computer."""
        words = ["recurrent-mz", "experiments"] + ["--quick"] * (usual is QUICK)
        for name in (f.name for f in fields(Sizes)):
            if (value := getattr(self, name)) != getattr(usual, name):
                words += [option_name(name), str(value)]
        for name, path in self.weights.items():
            words += ["--weights", f"{name}={Path(path).name}"]
        if self.data is not None:
            words += ["--data", self.data.name]
        return shlex.join(words)


QUICK = Settings(
    size=48, samples=1, z_step_um=0.6, every_um=2.4, draws=3, plane_sets=2, crop=64, real_size=64,
    bench_size=64,
)  # fmt: skip
"""Settings of a run that shows that everything works, whose numbers mean nothing."""


WORM_OPTICS = Optics(na=1.4, wavelength_um=0.519, immersion_index=1.515, pixel_um=0.103)
"""The paper's 63×/1.4 objective, its camera's pixel, and GFP."""

BEAD_OPTICS = Optics(na=1.4, wavelength_um=0.615, immersion_index=1.515, pixel_um=0.103)
"""The same with the paper's Texas Red filter."""

WORM_DEPTH_UM = 18.0
WORM_SCANS_UM = (3.0, 9.0, 15.0)
"""Where the paper's C. elegans stacks end (|Z| = 91, 0.2 µm), and its three scans."""

WORM_NETWORK = "recurrent-mz-worm"
OURS = ("recurrent-mz", WORM_NETWORK)
"""The networks that the paper's worms are asked of: the general one, and the one for worms."""

CAMERA = Camera(photons=2000.0, background=20.0)
_BRIGHT = 0.9999  # this quantile of a stack is a signal of 1, in sparse samples as in dense ones

_imaging = lru_cache(maxsize=8)(imaging)  # the last microscopes are kept

Item = TypeVar("Item")
Row = dict[str, Any]
"""One measured value or plane, with what it belongs to."""


@dataclass(frozen=True, eq=False)
class HeldOutStack:
    """A fully sampled stack that nothing was trained on."""

    # (Z, Y, X): what a reconstruction is held against: without noise where it is simulated
    truth: FloatArray
    seen: FloatArray  # (Z, Y, X): the same planes as a camera gives them: scans come from here
    z_um: Array  # (Z,): rising, evenly spaced, in micrometres
    optics: Optics
    confocal: FloatArray | None = None  # the confocal counterpart of ``truth``

    @cached_property
    def scale(self) -> Normalisation:
        """The scale on which planes are compared."""
        return Normalisation.of_stack(self.truth)

    @property
    def grid(self) -> ZGrid:
        """Its heights as a target grid."""
        return ZGrid(float(self.z_um[0]), float(self.z_um[-1]), float(self.z_um[1] - self.z_um[0]))

    def nearest(self, z_um: npt.ArrayLike) -> list[int]:
        """Numbers of the planes nearest to these heights."""
        wanted = np.atleast_1d(np.asarray(z_um, dtype=float))
        return [int(np.abs(self.z_um - z).argmin()) for z in wanted]

    def scans(self, z_um: npt.ArrayLike) -> list[Scan]:
        """Scans at the planes nearest to these heights, in the order given."""
        return [Scan(self.seen[i], float(self.z_um[i])) for i in self.nearest(z_um)]

    def between(self, low_um: float, high_um: float, every_um: float) -> list[int]:
        """Planes from ``low_um`` to ``high_um``, one in about ``every_um``."""
        inside = np.flatnonzero((self.z_um > low_um - 1e-6) & (self.z_um < high_um + 1e-6))
        stride = max(1, round(every_um / float(self.z_um[1] - self.z_um[0])))
        return [int(i) for i in inside[::stride]]


def score(held: HeldOutStack, index: int, plane: AnyArray) -> dict[str, float]:
    """A plane against the truth: PSNR (dB), NRMSE (%), SSIM, and RMSE in grey levels of 255."""
    truth, test = held.scale.apply(held.truth[index]), held.scale.apply(plane)
    return {
        "psnr": psnr(truth, test),
        "nrmse": nrmse(truth, test),
        "ssim": ssim(truth, test),
        "rmse": 255 * float(np.sqrt(np.mean((truth - test) ** 2))),
    }


class Lab:
    """Makes samples, loads weights and rebuilds planes; keeps what is costly."""

    def __init__(self, settings: Settings, on_progress: Any = None) -> None:
        self.settings = settings
        self.device: Device = choose_device(settings.device)
        self.notes: list[str] = []  # what could not be measured, and why, since `begin`
        self.used: dict[str, Model] = {}  # the weights used since then, by what they served
        self.pictures: dict[str, FloatArray] = {}  # images for the figure, by what they show
        self._on_progress = on_progress
        self._samples: dict[tuple[Any, ...], HeldOutStack] = {}

    def begin(self) -> None:
        """Forget what the last experiment left."""
        self.notes, self.used, self.pictures = [], {}, {}

    def note(self, sentence: str) -> None:
        """Remember, once, what could not be measured."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def track(self, items: Iterable[Item]) -> Iterator[Item]:
        """Go through the parts of an experiment, telling how far it is."""
        cases = list(items)
        for done, item in enumerate(cases):
            if done and self._on_progress:
                self._on_progress(done, len(cases))
            yield item

    def microscope(
        self,
        optics: Optics,
        depth_um: float,
        z_step_um: float,
        *,
        confocal: bool = False,
        size: int | None = None,
    ) -> Imaging:
        """A microscope for stacks from 0 to ``depth_um``, by default of the settings' size."""
        return _imaging(
            optics,
            planes=round(depth_um / z_step_um) + 1,
            size=size or self.settings.size,
            z_step_um=z_step_um,
            confocal=confocal,
            device=self.device.torch,
        )

    def image(
        self, microscope: Imaging, volume: AnyArray, seed: Sequence[int], camera: Camera
    ) -> HeldOutStack:
        """What a microscope and a camera make of an object."""
        generator = torch.Generator(self.device.torch).manual_seed(
            int(np.random.SeedSequence(seed).generate_state(1)[0])
        )
        light = _to_one(microscope.image(volume))
        narrow = None
        if microscope.confocal is not None:
            narrow = camera.noiseless(_to_one(microscope.image(volume, confocal=True)))
        return HeldOutStack(
            camera.noiseless(light).cpu().numpy(),
            camera.expose(light, generator).cpu().numpy(),
            np.arange(microscope.planes, dtype=np.float64) * microscope.z_step_um,
            microscope.optics,
            None if narrow is None else narrow.cpu().numpy(),
        )

    def sample(
        self,
        kind: str,
        number: int,
        *,
        optics: Optics = WORM_OPTICS,
        depth_um: float = WORM_DEPTH_UM,
        z_step_um: float | None = None,
        confocal: bool = False,
    ) -> HeldOutStack:
        """Held-out sample ``number`` of a kind; the last few are kept."""
        step = z_step_um or self.settings.z_step_um
        key = (kind, number, optics, depth_um, step, confocal)
        if key not in self._samples:
            microscope = self.microscope(optics, depth_um, step, confocal=confocal)
            seed = [self.settings.seed, number, sum(kind.encode())]
            volume = phantom(kind, microscope.space, np.random.default_rng(seed))
            if len(self._samples) > 12:
                self._samples.pop(next(iter(self._samples)))
            self._samples[key] = self.image(microscope, volume, seed, CAMERA)
        return self._samples[key]

    def worms(self) -> Iterator[tuple[int, HeldOutStack]]:
        """The paper's worms, simulated, each with its number."""
        for number in self.track(range(self.settings.samples)):
            yield number, self.sample("worm", number)

    def between(self, held: HeldOutStack, scans_um: Sequence[float]) -> list[int]:
        """The planes to judge between the outer scans."""
        return held.between(min(scans_um), max(scans_um), self.settings.every_um)

    def rng(self, *numbers: int) -> np.random.Generator:
        """Chance that depends on the settings' seed and on ``numbers`` alone."""
        return np.random.default_rng([self.settings.seed, *numbers])

    def model(self, method: str) -> Model | None:
        """The weights of a method or of a bundled network; None where a method has none."""
        given = self.settings.weights.get(method, None if method in METHODS else method)
        model = load_model(given) if given else model_for(method)
        if model is not None:
            self.used[method] = model
        return model

    def network_model(self, name: str = "recurrent-mz") -> Model:
        """The weights of Recurrent-MZ, or of one of its bundled networks."""
        model = self.model(name)
        assert model is not None  # each of them is a network
        return model

    def available(self, methods: Sequence[str]) -> list[str]:
        """Those of ``methods``, or bundled networks, that can be used here; others are noted."""
        bundled, usable = bundled_models(), []
        for name in methods:
            if name not in (*METHODS, *bundled):
                self.note(f"{name}: not measured, it is not part of this version.")
                continue
            weights = method_of(name).weights if name in METHODS else name
            if weights and name not in self.settings.weights and weights not in bundled:
                self.note(
                    f"{METHOD_NAMES[name]}: not measured, no weights are bundled "
                    f"(--weights {name}=FILE gives some)."
                )
                continue
            usable.append(name)
        return usable

    def trained(self, names: Sequence[str], why: str) -> dict[str, Model]:
        """Weights that an experiment asks for by names of its own, those that are given."""
        missing = [name for name in names if name not in self.settings.weights]
        if missing:
            options = " ".join(f"--weights {name}=FILE" for name in missing)
            self.note(f"{why}: not measured without weights trained so ({options}).")
        models = {name: load_model(self.settings.weights[name]) for name in names
                 if name not in missing}  # fmt: skip
        self.used.update(models)
        return models

    def rebuild(
        self,
        held: HeldOutStack,
        method: str,
        scans: Sequence[Scan],
        targets: Sequence[int],
        *,
        model: Model | None = None,
    ) -> Iterator[tuple[int, FloatArray]]:
        """Make the planes ``targets`` of a stack from scans; those that are scans are left out."""
        model = model or self.model(method)
        if model is not None and method not in METHODS:  # a bundled network
            method = model.architecture
        planes = iter_planes(
            scans,
            held.grid,
            optics=held.optics,
            model=model,
            method=method,
            device=self.settings.device,
            order=targets,
        )
        return ((plane.index, plane.pixels) for plane in planes if not plane.measured)

    def scored(
        self,
        held: HeldOutStack,
        method: str,
        scans: Sequence[Scan],
        targets: Sequence[int],
        about: Mapping[str, Any],
        *,
        model: Model | None = None,
    ) -> list[Row]:
        """Rebuild planes and hold them against the truth: one row a plane."""
        return [
            {**about, "method": method, "scans": len(scans), "z_um": round(held.z_um[i], 4),
             **score(held, i, plane)}
            for i, plane in self.rebuild(held, method, scans, targets, model=model)
        ]  # fmt: skip

    def network(
        self, held: HeldOutStack, scans: Sequence[Scan], model: Model | None = None
    ) -> NetworkPlanes:
        """A network that has been given scans, to be asked in unusual ways."""
        reach, model = (float(held.z_um[0]), float(held.z_um[-1])), model or self.network_model()
        return NetworkPlanes(
            scans, held.optics, model, self.device, reach_um=reach, on_message=self.note
        )


@torch.inference_mode()
def plane_of(
    planes: NetworkPlanes,
    z_um: float,
    *,
    order: Sequence[int] | None = None,
    dpm_error_um: npt.ArrayLike | None = None,
) -> FloatArray:
    """A plane from scans in this order, ``dpm_error_um`` added to the DPM of each alone."""
    prepared = planes.inputs.at(z_um)
    entering = prepared.scans
    if dpm_error_um is not None:
        unit = planes.inputs.config.dpm_unit_dof * planes.optics.depth_of_field_um
        error = torch.as_tensor(np.asarray(dpm_error_um, np.float32)).to(entering.device)
        entering = entering.clone()
        entering[:, :, 1] += (error / unit)[None, :, None, None]
    if order is not None:
        entering = entering[:, list(order)]
    output = planes.runner(prepared._replace(scans=entering))
    return planes.inputs.normalisation.undo(output[0, 0].float().cpu().numpy())


def _to_one(light: torch.Tensor) -> torch.Tensor:
    """Light scaled so that the brightest structures are about 1."""
    flat = light.flatten()
    count = max(1, round((1 - _BRIGHT) * flat.numel()))
    bright = torch.topk(flat, count).values[-1]
    return light / bright.clamp_min(1e-12)
