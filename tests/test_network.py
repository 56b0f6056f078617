"""The network against the paper's equations, written a second time in plain numpy loops.

Nothing here comes from the code under test but the names of its parameters. Where the
paper is silent (DPM scale, third input, last convolution) only our documented form is used.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit

from napari_recurrent_mz.networks.recurrent_mz import NetworkConfig, RecurrentMZ

Params = dict[str, np.ndarray]

SMALL = {"base_channels": 2, "levels": 3}
CONFIGS = {
    "paper": {"propagated_input": False, "correction": False, "linear_skip": False},
    "ours": {},
    "no norm": {"norm": "none"},
    "correction only": {"linear_skip": False},
    "skip only": {"correction": False},
    "non-negative": {"norm": "none", "nonnegative": True, "object_share": 0.6},
}


def conv(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | float = 0.0) -> np.ndarray:
    """2-D convolution (as networks mean it), stride 1, zero padding, (C, H, W) → (O, H, W)."""
    _, _, side, _ = weight.shape
    edge = side // 2
    _, height, width = x.shape
    padded = np.pad(x, ((0, 0), (edge, edge), (edge, edge)))
    out = np.zeros((len(weight), height, width))
    for dy in range(side):
        for dx in range(side):
            part = padded[:, dy : dy + height, dx : dx + width]
            out += np.einsum("oc,chw->ohw", weight[:, :, dy, dx], part)
    return out + np.reshape(bias, (-1, 1, 1))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return expit(x)


def max_pool(x: np.ndarray) -> np.ndarray:
    """P(·): 2 × 2 max pooling."""
    return np.maximum.reduce([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)])


def double_convolution(x: np.ndarray, p: Params, name: str, norm: bool) -> np.ndarray:
    """ReLU(BN(Conv(ReLU(BN(Conv(x)))))), batch normalisation by its running statistics."""
    step = 3 if norm else 2
    for i in (0, 1):
        layer = f"{name}.{step * i}"
        x = conv(x, p[f"{layer}.weight"], p.get(f"{layer}.bias", 0.0))
        if norm:
            bn = f"{name}.{step * i + 1}"
            scale = p[f"{bn}.weight"] / np.sqrt(p[f"{bn}.running_var"] + 1e-5)
            shift = p[f"{bn}.bias"] - p[f"{bn}.running_mean"] * scale
            x = x * scale[:, None, None] + shift[:, None, None]
        x = np.maximum(x, 0.0)
    return x


def gated_unit(x: np.ndarray, h: np.ndarray, p: Params, name: str) -> np.ndarray:
    """The three equations of the paper's GRU."""
    c = len(x)
    w, b = p[f"{name}.w.weight"], p[f"{name}.w.bias"]
    u_f, u_h = p[f"{name}.u_f.weight"], p[f"{name}.u_h.weight"]
    f = sigmoid(conv(x, w[:c], b[:c]) + conv(h, u_f))
    new = np.tanh(conv(x, w[c:], b[c:]) + conv(f * h, u_h))
    return (1 - f) * h + f * new


def mean_pool(x: np.ndarray, side: int) -> np.ndarray:
    """Means of side × side pixels."""
    c, height, width = x.shape
    return x.reshape(c, height // side, side, width // side, side).mean((2, 4))


def reference(
    p: Params,
    config: NetworkConfig,
    scans: np.ndarray,
    linear: np.ndarray,
    skip: np.ndarray,
    extra: np.ndarray,
) -> np.ndarray:
    """The image (H, W) from scans (M, C, H, W) and what goes beside them (S, H, W)."""
    norm = config.norm == "batch"
    multiple = 2 ** (config.levels - 1)
    height, width = scans.shape[-2:]
    pad = [(0, -height % multiple), (0, -width % multiple)]
    h: list[np.ndarray] = []
    features: list[np.ndarray] = []
    for scan in scans:
        x = np.pad(scan, [(0, 0), *pad], mode="reflect")
        features = []
        for k in range(config.levels):
            x = double_convolution(max_pool(x) if k else x, p, f"encoder.{k}", norm)
            features.append(x)
        h = h or [np.zeros_like(x) for x in features]
        pairs = zip(features, h, strict=True)
        h = [gated_unit(x, hk, p, f"recurrent.{k}") for k, (x, hk) in enumerate(pairs)]
    y = np.empty(0)
    for k in reversed(range(config.levels)):
        s = features[k] + conv(h[k], p[f"mix.{k}.weight"], p[f"mix.{k}.bias"])
        joined = [s] if k == config.levels - 1 else [y.repeat(2, 1).repeat(2, 2), s]
        if (k == 0 and config.linear_skip) or config.nonnegative:
            joined.append(mean_pool(np.pad(skip, [(0, 0), *pad], mode="reflect"), 2**k))
        y = double_convolution(np.concatenate(joined), p, f"decoder.{k}", norm)
    out = conv(y, p["last.weight"], p["last.bias"])[:, :height, :width]
    image = out[0] + linear if config.correction else out[0]
    return image + 0.6 * sigmoid(out[1] - 0.7) * extra if config.nonnegative else image


def network(**choices: object) -> RecurrentMZ:
    """A small network in eval mode with every parameter and running statistic random."""
    torch.manual_seed(3)
    made = RecurrentMZ(NetworkConfig(**{**SMALL, **choices})).double().eval()  # type: ignore[arg-type]
    with torch.no_grad():
        for name, value in made.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 2.0)
            elif value.is_floating_point():
                value.normal_(std=0.5)
    return made


def inputs(config: NetworkConfig, scans: int, size: tuple[int, int]) -> tuple[np.ndarray, ...]:
    """Scans (M, C, H, W) whose DPM is a tilted and curved map, and a linear estimate (H, W)."""
    rng = np.random.default_rng(7)
    y, x = np.indices(size) / 10
    sequence = rng.normal(size=(scans, config.input_channels, *size))
    for number in range(scans):
        sequence[number, 1] = number - 1 + 0.3 * y - 0.2 * x**2
    return sequence, rng.normal(size=size)


def run(made: RecurrentMZ, scans: np.ndarray, linear: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        guess = torch.from_numpy(linear)[None, None] if made.config.needs_linear else None
        return made(torch.from_numpy(scans)[None], guess)[0, 0].numpy()


def beside(config: NetworkConfig, linear: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Skip channels (S, H, W), the linear estimate first, and the non-negative part (H, W)."""
    rng = np.random.default_rng(9)
    others = rng.normal(size=(max(config.skip_channels - 1, 0), *linear.shape))
    return np.concatenate([linear[None], others]), rng.normal(size=linear.shape)


@pytest.mark.parametrize("choices", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("scans", [1, 2, 3])
@pytest.mark.parametrize("size", [(16, 16), (13, 18), (21, 11)])
def test_network_computes_the_papers_equations(
    choices: dict[str, object], scans: int, size: tuple[int, int]
) -> None:
    made = network(**choices)
    sequence, linear = inputs(made.config, scans, size)
    p = {name: value.numpy() for name, value in made.state_dict().items()}
    skip, extra = beside(made.config, linear)
    expected = reference(p, made.config, sequence, linear, skip, extra)
    with torch.no_grad():
        found = made(
            torch.from_numpy(sequence)[None],
            torch.from_numpy(linear)[None, None],
            None,
            torch.from_numpy(skip)[None],
            torch.from_numpy(extra)[None, None],
        )[0, 0].numpy()
    assert found.shape == size
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


def test_paper_network_has_about_nine_million_parameters() -> None:
    """Counted from the paper's text, layer by layer."""
    c = [20 * 2**k for k in range(5)]
    convolutions = 0
    for k in range(5):
        before = 2 if k == 0 else c[k - 1]
        convolutions += 9 * (before * c[k] // 2 + c[k] // 2 * c[k])  # encoder
        convolutions += 4 * 9 * c[k] ** 2 + c[k] ** 2  # W_f, W_h, U_f, U_h and the 1 × 1
        below = c[k + 1] if k < 4 else 0
        convolutions += 9 * ((c[k] + below) * c[k] + c[k] ** 2)  # decoder
    convolutions += 9 * c[0]
    made = RecurrentMZ(NetworkConfig.paper())
    count = sum(value.numel() for value in made.parameters() if value.ndim == 4)
    assert count == convolutions
    total = sum(value.numel() for value in made.parameters())
    assert total == pytest.approx(9e6, rel=0.1)
    assert total - count < 0.001 * total  # biases and batch norms


def test_kept_state_equals_a_full_pass() -> None:
    made = network()
    sequence, linear = inputs(made.config, 3, (16, 20))
    with torch.no_grad():
        state = None
        for scan in torch.from_numpy(sequence):
            features = made.encode(scan[None])
            state = made.remember(features, state)
        assert state is not None
        image = made.decode(features, state, torch.from_numpy(linear)[None, None], (16, 20))
    np.testing.assert_allclose(image[0, 0].numpy(), run(made, sequence, linear), rtol=1e-12)


def test_state_is_not_changed_by_the_next_scan() -> None:
    """A kept state serves again: live refinement branches from it."""
    made = network()
    sequence, _ = inputs(made.config, 2, (16, 16))
    with torch.no_grad():
        first = made.remember(made.encode(torch.from_numpy(sequence[:1])), None)
        kept = [h.clone() for h in first]
        made.remember(made.encode(torch.from_numpy(sequence[1:])), first)
    for before, after in zip(kept, first, strict=True):
        torch.testing.assert_close(before, after, rtol=0, atol=0)


def test_correction_starts_as_the_linear_estimate() -> None:
    made = RecurrentMZ(NetworkConfig(**SMALL)).double().eval()  # type: ignore[arg-type]
    sequence, linear = inputs(made.config, 2, (17, 16))
    np.testing.assert_array_equal(run(made, sequence, linear), linear)


def test_correction_is_counted_in_its_unit() -> None:
    made = network()
    sequence, linear = inputs(made.config, 2, (16, 16))
    scans, guess = torch.from_numpy(sequence)[None], torch.from_numpy(linear)[None, None]
    with torch.no_grad():
        plain = made(scans, guess) - guess
        tenth = made(scans, guess, torch.full((1, 1, 1, 1), 0.1, dtype=torch.float64)) - guess
    torch.testing.assert_close(tenth, 0.1 * plain)


def test_batch_of_images_is_each_image_alone() -> None:
    made = network()
    pairs = [inputs(made.config, 2, (16, 16)), inputs(made.config, 2, (16, 16))]
    pairs[1][0][:] *= -1
    with torch.no_grad():
        scans = torch.from_numpy(np.stack([pair[0] for pair in pairs]))
        linear = torch.from_numpy(np.stack([pair[1] for pair in pairs]))[:, None]
        together = made(scans, linear)[:, 0].numpy()
    for image, (one, guess) in zip(together, pairs, strict=True):
        np.testing.assert_allclose(image, run(made, one, guess), rtol=1e-10)


def test_order_of_the_scans_matters_to_a_recurrent_network() -> None:
    made = network()
    sequence, linear = inputs(made.config, 3, (16, 16))
    assert (
        np.abs(run(made, sequence, linear) - run(made, sequence[::-1].copy(), linear)).max() > 0.01
    )


def test_wrong_use_is_refused() -> None:
    made = network()
    sequence, _ = inputs(made.config, 1, (16, 16))
    with pytest.raises(ValueError, match="linear estimate"):
        made(torch.from_numpy(sequence)[None])
    with pytest.raises(ValueError, match="at least one scan"):
        made([])
    gated, plain = network(nonnegative=True), torch.zeros(1, 1, 16, 16, dtype=torch.float64)
    with pytest.raises(ValueError, match="3 skip channels"):
        gated(torch.from_numpy(sequence)[None], plain)
    with pytest.raises(ValueError, match="what the objects add"):
        gated(torch.from_numpy(sequence)[None], plain, None, plain.expand(1, 3, 16, 16))


def test_configuration_survives_a_model_card() -> None:
    config = NetworkConfig(base_channels=8, levels=4, norm="none", dpm_unit_dof=5.0)
    assert NetworkConfig.from_dict(config.as_dict()) == config
