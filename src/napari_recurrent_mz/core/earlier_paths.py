"""Import paths of earlier versions, which go on working with a DeprecationWarning."""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType
from typing import Any

PACKAGE = __name__.partition(".")[0]

NOW_AT = {
    **{
        name: f"{room}.{name}"
        for room, names in {
            "core": "device methods metrics optics progress scans",
            "estimates": "expectation lmmse planning uncertainty",
            "networks": "architectures operations weights",
            "simulation": "simulate",
            "engine": "batch cost inference provenance recipe session surfaces to_disk",
            "measure": "beads comparison evaluation plots preparation projections",
        }.items()
        for name in names.split()
    },
    "baselines.deep_z": "networks.deep_z",
    "baselines.interpolation": "estimates.interpolation",
    "baselines.unet3d": "networks.unet3d",
    "baselines": "networks",
    "network": "networks.recurrent_mz",
    "prepare": "estimates.normalisation",
    "sources": "acquisition",
}


class EarlierPaths:  # importlib.abc has bases for it, and takes longer to load than the package
    """Finds a module of an earlier version where it stands now."""

    def find_spec(self, fullname: str, *_: Any) -> ModuleSpec | None:
        loader: Any = self
        return spec_from_loader(fullname, loader) if place_now(fullname) else None

    def create_module(self, _spec: ModuleSpec) -> None:
        """The usual one."""

    def exec_module(self, module: ModuleType) -> None:
        earlier, now = module.__name__, place_now(module.__name__)
        warnings.warn(
            f"{earlier} is now {now}: import it from there.", DeprecationWarning, stacklevel=2
        )
        sys.modules[earlier] = import_module(str(now))


def place_now(name: str) -> str | None:
    """Where the module of an earlier version stands now; None for every other name."""
    package, _, rest = name.partition(".")
    if package != PACKAGE:
        return None
    for earlier, now in NOW_AT.items():
        if rest == earlier or rest.startswith(f"{earlier}."):
            return f"{PACKAGE}.{now}{rest.removeprefix(earlier)}"
    return None
