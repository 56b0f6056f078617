"""The networks that can be trained and loaded, by name."""

from __future__ import annotations

from typing import Any, NamedTuple

from .deep_z import DeepZ, DeepZConfig
from .plain import PlainNetwork
from .recurrent_mz import NetworkConfig, RecurrentMZ
from .unet3d import UNet3D, UNet3DConfig

Network = RecurrentMZ | PlainNetwork
"""A network that makes planes: the same input, the same output."""


class Architecture(NamedTuple):
    """A configuration class and the network that it shapes."""

    config: type[NetworkConfig]
    network: Any


ARCHITECTURES = {
    "recurrent-mz": Architecture(NetworkConfig, RecurrentMZ),
    "deep-z": Architecture(DeepZConfig, DeepZ),
    "unet-3d": Architecture(UNet3DConfig, UNet3D),
}


def architecture_of(config: NetworkConfig) -> str:
    """The name of the architecture that a configuration shapes."""
    return next(name for name, entry in ARCHITECTURES.items() if entry.config is type(config))


def build(config: NetworkConfig) -> Network:
    """The network of a configuration, with random weights."""
    network: Network = ARCHITECTURES[architecture_of(config)].network(config)
    return network


def build_as(name: str, values: dict[str, Any]) -> Network:
    """The network of an architecture's name and the values of its configuration.

    Raises
    ------
    KeyError, TypeError
        If there is no such architecture, or a value that it does not have.
    """
    return build(ARCHITECTURES[name].config.from_dict(values))
