"""The same network for use only: built from the plain modules, with less memory moved.

Normalisation is folded into the convolutions; one precision is used throughout; what is enlarged
and then convolved is one transposed convolution; a CPU makes some rows at a time, in buffers that
are used again, with weights laid out as oneDNN wants them. In half precision a CPU keeps single
precision in the last block of the decoder and what it sees of the last scan: most of bfloat16's
error is made there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..core.progress import check_stopped
from .recurrent_mz import ConvGRU, NetworkConfig, RecurrentMZ, State

_M = TypeVar("_M", bound=nn.Module)

_LAYOUTS = 16  # shapes of windows that weights are laid out for at a time

_AT_ONCE = 500_000  # numbers that are converted from one precision to another

_STRIP_BYTES = 2**22  # of an image that a CPU makes at a time, in memory used again and again

_ONE = [1, 1]  # stride and dilation of every convolution


@dataclass(frozen=True)
class Precision:
    """The types of the features."""

    features: torch.dtype  # of the network
    edge: torch.dtype  # of the first level's last features and the last decoder block

    @classmethod
    def of(cls, kind: str, *, half: bool) -> Precision:
        """Precision for a kind of device; only a GPU has float16, finer than bfloat16."""
        if not half:
            return cls(torch.float32, torch.float32)
        if kind == "cpu":
            return cls(torch.bfloat16, torch.float32)
        return cls(torch.float16, torch.float16)


class _Activation(NamedTuple):
    """Activation after a convolution, by oneDNN's name for it."""

    name: str
    numbers: tuple[float, ...] = ()

    def of(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the activation to ``x`` in place."""
        if self.name == "leaky_relu":
            return functional.leaky_relu_(x, *self.numbers)
        values: torch.Tensor = getattr(x, f"{self.name}_")()
        return values


_TANH, _SIGMOID = _Activation("tanh"), _Activation("sigmoid")


def _rectifier(slope: float) -> _Activation:
    return _Activation("leaky_relu", (slope,)) if slope else _Activation("relu")


class _Conv:
    """One convolution with stride 1, its weights laid out for the device."""

    def __init__(self, conv: nn.Conv2d, dtype: torch.dtype, inputs: slice | None = None) -> None:
        weight = conv.weight.detach()[:, inputs or slice(None)]
        self.outputs, self.dtype = weight.shape[0], dtype
        self.padding = [weight.shape[-1] // 2] * 2
        self.weight = weight.to(dtype).contiguous(memory_format=torch.channels_last)
        self.bias = None if conv.bias is None else conv.bias.detach().to(dtype)
        self.packed = _packs(self.weight)
        self._layouts: dict[torch.Size, torch.Tensor] = {}

    def __call__(
        self, x: torch.Tensor, buffers: _Buffers, name: str, then: _Activation | None = None
    ) -> torch.Tensor:
        """The convolution of ``x``, and what becomes of its values; see :func:`_by_rows`."""
        return _by_rows(
            x, self.outputs, buffers, name, lambda rows: _convolved([(self, x)], rows, then)
        )

    def new(self, x: torch.Tensor, then: _Activation | None = None) -> torch.Tensor:
        """The convolution of ``x``, and what becomes of its values, in fresh memory."""
        check_stopped()
        if not self.packed:
            image = functional.conv2d(x, self.weight, self.bias, padding=self.padding)
            return then.of(image) if then else image
        fused: torch.Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, self._laid_out(x.shape), self.bias, self.padding, _ONE, _ONE, 1,
            then.name if then else "none", list(then.numbers) if then else [], "",
        )  # fmt: skip
        return fused

    def onto(self, there: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Add the convolution of ``x``, without its bias if there is none, to what is there."""
        if self.packed:
            torch.ops.mkldnn._convolution_pointwise_.binary(
                there, x, self._laid_out(x.shape), self.bias, self.padding, _ONE, _ONE, 1,
                "add", 1.0, None, [], "",
            )  # fmt: skip
            return there
        return there.add_(functional.conv2d(x, self.weight, self.bias, padding=self.padding))

    def _laid_out(self, shape: torch.Size) -> torch.Tensor:
        """The weights in the order that suits images of this shape: another is far slower."""
        if shape not in self._layouts:
            if len(self._layouts) >= _LAYOUTS:
                self._layouts.clear()
            self._layouts[shape] = torch.ops.mkldnn._reorder_convolution_weight(
                self.weight, self.padding, _ONE, _ONE, 1, list(shape)
            )
        return self._layouts[shape]


def _packs(weight: torch.Tensor) -> bool:
    """Whether oneDNN, which adds convolutions in place, does these."""
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if weight.dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return weight.dtype == torch.float32


class _Buffers:
    """Memory that is used again for every plane, by name; the largest decides its size."""

    def __init__(self) -> None:
        self._buffers_by_name: dict[str, torch.Tensor] = {}

    def get(
        self,
        name: str,
        shape: tuple[int, ...],
        like: torch.Tensor,
        dtype: torch.dtype | None = None,
    ) -> torch.Tensor:
        """A tensor (N, C, H, W), channels last, with anything in it."""
        n, c, high, wide = shape
        dtype = dtype or like.dtype
        size = n * c * high * wide * dtype.itemsize
        buffer = self._buffers_by_name.pop(name, None)
        if buffer is None or buffer.numel() < size:
            buffer = None  # before the next is made
            buffer = torch.empty(size, dtype=torch.uint8, device=like.device)
        self._buffers_by_name[name] = buffer
        return buffer[:size].view(dtype).view(n, high, wide, c).permute(0, 3, 1, 2)

    def clear(self) -> None:
        """Give them back."""
        self._buffers_by_name.clear()

    def disown(self, tensors: Sequence[torch.Tensor]) -> None:
        """Let go of some that others hold on to."""
        theirs = {tensor.untyped_storage().data_ptr() for tensor in tensors}
        for name, buffer in list(self._buffers_by_name.items()):
            if buffer.untyped_storage().data_ptr() in theirs:
                del self._buffers_by_name[name]

    def spare(self, x: torch.Tensor, name: str) -> torch.Tensor | None:
        """One just like ``x``, or None on a device that keeps its memory by itself."""
        return self.like(x, x.shape[1], name) if x.device.type == "cpu" else None

    def copy(self, x: torch.Tensor, dtype: torch.dtype, name: str) -> torch.Tensor:
        """``x`` in a precision, channels last; on a CPU in a buffer, not in new memory."""
        if x.device.type != "cpu":
            return x.to(dtype, memory_format=torch.channels_last)
        return self.get(name, tuple(x.shape), x, dtype).copy_(x)

    def like(self, x: torch.Tensor, channels: int, name: str) -> torch.Tensor:
        """Buffer of the size and type of ``x`` (N, …, H, W) with so many channels."""
        n, _, high, wide = x.shape
        return self.get(name, (n, channels, high, wide), x)


def _rows(x: torch.Tensor, channels: int) -> list[slice]:
    """The rows of an image (N, …, H, W), on a CPU as many at a time as stay in its caches."""
    high, size = x.shape[2], x.numel() // x.shape[1] * channels * x.dtype.itemsize
    step = high
    if x.device.type == "cpu" and size > _STRIP_BYTES:
        step = max(_STRIP_BYTES * high // size, 1)
    return [slice(start, min(start + step, high)) for start in range(0, high, step)]


def _by_rows(
    x: torch.Tensor,
    channels: int,
    buffers: _Buffers,
    name: str,
    make: Callable[[slice], torch.Tensor],
) -> torch.Tensor:
    """Apply ``make`` to the rows of ``x``, on a CPU a few at a time, which stay in its caches."""
    strips = _rows(x, channels)
    if len(strips) == 1:
        return make(strips[0])
    there = buffers.like(x, channels, name)
    for rows in strips:
        there[:, :, rows] = make(rows)
    return there


def _convolved(
    pairs: Sequence[tuple[_Conv, torch.Tensor]], rows: slice, then: _Activation | None
) -> torch.Tensor:
    """Some rows of a sum of convolutions, each of its image, and what becomes of the values."""
    (first, x), *others = pairs
    low, high = max(rows.start - 1, 0), rows.stop + 1  # a neighbour on each side
    image = first.new(x[:, :, low:high], None if others else then)
    for conv, more in others:
        conv.onto(image, more[:, :, low:high])
    image = image[:, :, rows.start - low : rows.stop - low]
    return then.of(image) if others and then else image


class _Enlarged:
    """A 3×3 convolution of an image enlarged twice, as one step: four taps of nine are left."""

    _TAPS = ((0.0, 0.0, 1.0), (0.0, 1.0, 1.0), (1.0, 1.0, 0.0), (1.0, 0.0, 0.0))

    def __init__(self, conv: nn.Conv2d, inputs: slice, dtype: torch.dtype) -> None:
        weight = conv.weight.detach()[:, inputs]
        taps = weight.new_tensor(self._TAPS)
        merged = torch.einsum("ty,ocyx,sx->octs", taps, weight, taps)
        self.weight = merged.transpose(0, 1).to(dtype).contiguous()

    def onto(self, there: torch.Tensor, y: torch.Tensor) -> None:
        """Add the convolution of ``y`` (N, C, H, W), enlarged, to what is there (N, O, 2H, 2W)."""
        for rows in _rows(y, 4 * there.shape[1]):
            start, stop = rows.start, rows.stop
            low = max(start - 1, 0)  # a neighbour on each side, whose own rows are cut off
            some = y[:, :, low : stop + 1]
            enlarged = functional.conv_transpose2d(some, self.weight, stride=2, padding=1)
            part = enlarged.narrow(2, 2 * (start - low), 2 * (stop - start))
            _add(there[:, :, 2 * start : 2 * stop], part)


class _Block:
    """The two convolutions of an encoder block, each with its rectifier."""

    def __init__(self, convs: tuple[nn.Conv2d, nn.Conv2d], slope: float, dtype: torch.dtype):
        self.first, self.second = (_Conv(conv, dtype) for conv in convs)
        self.rectifier = _rectifier(slope)

    def __call__(self, x: torch.Tensor, buffers: _Buffers, name: str) -> torch.Tensor:
        middle = self.first(x, buffers, "c", self.rectifier)
        return self.second(middle, buffers, f"{name} x", self.rectifier)


def _add(there: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Add ``x`` to what is there, both (N, C, H, W); a CPU converts only some rows at a time."""
    if x.dtype == there.dtype or x.device.type != "cpu":
        return there.add_(x)
    rows = max(_AT_ONCE * x.shape[2] // x.numel(), 1)
    for some, more in zip(torch.split(there, rows, 2), torch.split(x, rows, 2), strict=True):
        some.add_(more)
    return there


class _Unit:
    """One recurrent unit; see :class:`~.ConvGRU`."""

    def __init__(self, unit: ConvGRU, dtype: torch.dtype) -> None:
        self.w_f, self.w_h = (_Conv(half, dtype) for half in _halves(unit.w))
        self.u_f, self.u_h = _Conv(unit.u_f, dtype), _Conv(unit.u_h, dtype)

    def __call__(
        self, x: torch.Tensor, h: torch.Tensor | None, buffers: _Buffers, name: str
    ) -> torch.Tensor:
        """The new state from x and the state h (N, c, H, W), which it replaces, or None."""
        channels = self.w_f.outputs
        if h is None:

            def begin(rows: slice) -> torch.Tensor:
                new = _convolved([(self.w_h, x)], rows, _TANH)
                return new.mul_(_convolved([(self.w_f, x)], rows, _SIGMOID))

            return _by_rows(x, channels, buffers, f"{name} h", begin)
        before = h

        def gate(rows: slice) -> torch.Tensor:
            return _convolved([(self.w_f, x), (self.u_f, before)], rows, _SIGMOID)

        f = _by_rows(x, channels, buffers, "a", gate)
        passed = torch.mul(f, h, out=buffers.spare(h, "c"))
        for rows in _rows(x, channels):
            new = _convolved([(self.w_h, x), (self.u_h, passed)], rows, _TANH)
            h[:, :, rows].lerp_(new, f[:, :, rows])
        return h


def _halves(conv: nn.Conv2d) -> list[nn.Conv2d]:
    """A convolution with 2 c outputs as two with c."""
    halves = []
    assert conv.bias is not None
    for weight, bias in zip(conv.weight.chunk(2), conv.bias.chunk(2), strict=True):
        half = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[-1], padding=1)
        half.weight, half.bias = nn.Parameter(weight), nn.Parameter(bias)
        halves.append(half)
    return halves


def _folded(block: nn.Sequential) -> tuple[nn.Conv2d, nn.Conv2d]:
    """The convolutions of a block, batch normalisation folded into them."""
    convs: list[nn.Conv2d] = []
    for layer in block:
        if isinstance(layer, nn.Conv2d):
            convs.append(layer)
        elif isinstance(layer, nn.BatchNorm2d):
            convs[-1] = fuse_conv_bn_eval(convs[-1], layer)
    first, second = convs
    return first, second


class _DecoderBlock:
    """A decoder block, its first convolution taken apart by what it sees."""

    def __init__(
        self, block: nn.Sequential, config: NetworkConfig, level: int, precision: Precision
    ) -> None:
        low = precision.features
        self.dtype = precision.edge if level == 0 else low
        self.rectifier = _rectifier(config.slope)
        first, second = _folded(block)
        below = config.channels(level + 2) if level + 1 < config.levels else 0
        own = below + config.channels(level + 1)
        self.enlarged = _Enlarged(first, slice(below), low) if below else None
        self.own = _Conv(first, self.dtype, slice(below, own))
        extra = first.in_channels - own
        self.beside = _Conv(first, self.dtype, slice(own, None)) if extra else None
        if self.beside is not None:
            self.beside.bias = None  # there once already
        self.second = _Conv(second, self.dtype)

    def __call__(
        self,
        s: torch.Tensor,
        y: torch.Tensor | None,
        beside: torch.Tensor | None,
        buffers: _Buffers,
    ) -> torch.Tensor:
        """From s_k, the block below and what is seen beside, or None: (N, c, H, W)."""
        x = self.own(s, buffers, "b")
        if self.enlarged is not None and y is not None:
            self.enlarged.onto(x, y)
        if self.beside is not None and beside is not None:
            self.beside.onto(x, buffers.copy(beside, self.dtype, "beside"))
        return self.second(self.rectifier.of(x), buffers, "c", self.rectifier)


def _each(modules: nn.ModuleList, kind: type[_M]) -> list[_M]:
    """The modules of a list, which are of this kind."""
    return [module for module in modules if isinstance(module, kind)]


class FastNetwork:
    """The network in a form that makes the same images faster; not for training."""

    def __init__(self, network: RecurrentMZ, precision: Precision) -> None:
        self.config, self.precision = network.config, precision
        self._plain, self._buffers = network, _Buffers()
        low, slope = precision.features, network.config.slope
        blocks = [_folded(block) for block in _each(network.encoder, nn.Sequential)]
        self._encoder = [_Block(convs, slope, low) for convs in blocks]
        self._edge_encoder = _Block(blocks[0], slope, precision.edge)
        self._units = [_Unit(unit, low) for unit in _each(network.recurrent, ConvGRU)]
        self._mix = [_Conv(mix, low) for mix in _each(network.mix, nn.Conv2d)]
        self._decoder = [
            _DecoderBlock(block, network.config, level, precision)
            for level, block in enumerate(_each(network.decoder, nn.Sequential))
        ]
        self._last = _Conv(network.last, precision.edge)

    def __call__(
        self, scans: torch.Tensor | Sequence[torch.Tensor], *beside: torch.Tensor | None
    ) -> torch.Tensor:
        """As :meth:`~napari_recurrent_mz.networks.recurrent_mz.RecurrentMZ.forward`."""
        return self._run(None, scans, *beside)[0]

    def continue_from(
        self,
        state: State | None,
        scans: torch.Tensor | Sequence[torch.Tensor],
        *beside: torch.Tensor | None,
    ) -> tuple[torch.Tensor, State]:
        """As :meth:`~napari_recurrent_mz.networks.recurrent_mz.RecurrentMZ.continue_from`."""
        low = self.precision.features
        before = None if state is None else [h.to(low, copy=True) for h in state]
        image, after = self._run(before, scans, *beside)
        if before is None:
            self._buffers.disown(after)
        return image, after

    def release(self) -> None:
        """Give back the memory that is kept for the next plane."""
        self._buffers.clear()

    def _run(
        self,
        state: State | None,
        scans: torch.Tensor | Sequence[torch.Tensor],
        linear: torch.Tensor | None = None,
        unit: torch.Tensor | None = None,
        skip: torch.Tensor | None = None,
        extra: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, State]:
        """The image, and the state in buffers that the next call uses again."""
        sequence = list(scans.unbind(1)) if isinstance(scans, torch.Tensor) else list(scans)
        if not sequence:
            raise ValueError("a network needs at least one scan")
        for scan in sequence:
            features, edge = self._encode(scan, last=scan is sequence[-1])
            before: Sequence[torch.Tensor | None] = state or [None] * len(features)
            state = [
                unit_k(x, h, self._buffers, f"level {k}")
                for k, (unit_k, x, h) in enumerate(zip(self._units, features, before, strict=True))
            ]
        assert state is not None
        features[0] = edge
        out = self._decode(features, state, self._plain.beside(linear, skip))
        size = sequence[0].shape[-2:]
        image = out[..., : size[0], : size[1]].to(torch.float32, copy=True)
        if self.config.correction and linear is not None:
            image = self._plain.corrected(image, linear, unit, extra)
        return image, state

    def _encode(self, scan: torch.Tensor, *, last: bool) -> tuple[State, torch.Tensor]:
        """Features of every level; the first level's of the last scan also for the decoder."""
        low, edge, buffers = self.precision.features, self.precision.edge, self._buffers
        x = self._plain.pad(scan)
        if last and edge != low:
            fine = self._edge_encoder(buffers.copy(x, edge, "scan"), buffers, "level 0")
            first = buffers.copy(fine, low, "level 0 low")
        else:
            fine = first = self._encoder[0](buffers.copy(x, low, "scan"), buffers, "level 0")
        features = [first]
        for level, block in enumerate(self._encoder[1:], start=1):
            name = f"level {level}"
            features.append(block(self._pooled(features[-1]), buffers, name))
        return features, fine

    def _pooled(self, x: torch.Tensor) -> torch.Tensor:
        """The largest of every 2 × 2 pixels; by rows and columns, which a CPU does faster."""
        if x.device.type != "cpu":
            return functional.max_pool2d(x, 2)
        n, c, high, wide = x.shape
        rows = self._buffers.get("a", (n, c, high // 2, wide), x)
        torch.maximum(x[:, :, ::2], x[:, :, 1::2], out=rows)
        both = self._buffers.get("b", (n, c, high // 2, wide // 2), x)
        return torch.maximum(rows[..., ::2], rows[..., 1::2], out=both)

    def _decode(self, features: State, state: State, beside: torch.Tensor | None) -> torch.Tensor:
        """The last convolution's outputs, padded."""
        y: torch.Tensor | None = None
        for level in reversed(range(self.config.levels)):
            mixed = self._mix[level](state[level], self._buffers, "a")
            s = _add(features[level], mixed)
            seen = None
            if beside is not None and (level == 0 or self.config.nonnegative):
                seen = functional.avg_pool2d(beside, 2**level) if level else beside
            y = self._decoder[level](s, y, seen, self._buffers)
        assert y is not None
        return self._last(y, self._buffers, "last")
