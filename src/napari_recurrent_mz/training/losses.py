"""The losses of the generator and the discriminator, and the discriminator itself.

L_V = α BerHu(ŷ, y) + β MSSSIM(ŷ, y) + γ [D(ŷ) − 1]², with α, β, γ = 3, 1, 0.5
L_D = ½ D(ŷ)² + ½ [D(y) − 1]²
(Huang et al. 2021, "Recurrent-MZ implementation"); and one that counts every sample alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pytorch_msssim import ms_ssim
from torch import nn

BERHU_C = 0.1
"""The paper's constant c."""

FLOOR = 1e-7
"""Mean squared error, normalised, below which crops that hold nothing are not told apart."""


@dataclass(frozen=True)
class LossConfig:
    """Weights of the loss; 0 switches a part off.

    Parameters
    ----------
    berhu : float
        Weight of the differences of pixels (BerHu; α of the paper).
    ms_ssim : float
        Weight of the likeness of structure (MS-SSIM; β of the paper).
    adversarial : float
        Weight of a second network that tells made planes from measured ones (γ of the paper).
    log_ratio : float
        Weight of the gain over linear MMSE in decibels, which counts dim and bright examples
        alike: half the mean of log(MSE of the network / MSE of linear MMSE).
    care : float
        How much more an example counts in it that is answered worse than by linear MMSE.
    adversarial_start : int
        First step with the second network.
    """

    berhu: float = 0.0
    ms_ssim: float = 0.0
    adversarial: float = 0.0
    log_ratio: float = 1.0
    care: float = 1.0
    adversarial_start: int = 0

    @property
    def sees_images(self) -> bool:
        """Whether a part looks at whole images; otherwise corrections will do."""
        return bool(self.berhu or self.ms_ssim or self.adversarial)

    @classmethod
    def paper(cls) -> LossConfig:
        """α, β, γ = 3, 1, 0.5."""
        return cls(berhu=3.0, ms_ssim=1.0, adversarial=0.5, log_ratio=0.0)


def berhu(output: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Mean of |d| where |d| <= c, else (d² + c²) / (2c); a sum would go with the crop."""
    difference, c = (output - truth).abs(), BERHU_C
    return torch.where(difference <= c, difference, (difference**2 + c**2) / (2 * c)).mean()


def ms_ssim_loss(output: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """1 − MS-SSIM over a range of 1, in a window whose five scales fit into a training crop."""
    window = min(11, (min(output.shape[-2:]) - 1) // 16 // 2 * 2 + 1)
    loss: torch.Tensor = 1 - ms_ssim(output, truth, data_range=1.0, win_size=max(window, 3))
    return loss


def log_ratio(
    output: torch.Tensor,
    truth: torch.Tensor,
    linear: torch.Tensor,
    floor: torch.Tensor | float = FLOOR,
    care: float = 0.0,
) -> torch.Tensor:
    """Half the mean over examples of r + care · max(r, 0), r = log(MSE(output) / MSE(linear))."""
    ours, theirs = (((image - truth) ** 2).flatten(1).mean(dim=1) for image in (output, linear))
    ratio = torch.log(ours + floor) - torch.log(theirs + floor)
    return 0.5 * (ratio + care * ratio.clamp_min(0)).mean()


def generator_loss(
    config: LossConfig,
    output: torch.Tensor,
    truth: torch.Tensor,
    linear: torch.Tensor,
    judged: torch.Tensor | None,
    floor: torch.Tensor | float = FLOOR,
) -> torch.Tensor:
    """The weighted sum; ``judged`` is D(output), or None without the adversarial part."""
    total = output.new_zeros(())
    if config.log_ratio:
        ratio = log_ratio(output, truth, linear, floor, config.care)
        total = total + config.log_ratio * ratio
    if config.berhu:
        total = total + config.berhu * berhu(output, truth)
    if config.ms_ssim:
        total = total + config.ms_ssim * ms_ssim_loss(output, truth)
    if judged is not None:
        total = total + config.adversarial * ((judged - 1) ** 2).mean()
    return total


def discriminator_loss(judged_output: torch.Tensor, judged_truth: torch.Tensor) -> torch.Tensor:
    """L_D = ½ D(ŷ)² + ½ [D(y) − 1]², averaged over examples."""
    return (0.5 * judged_output**2 + 0.5 * (judged_truth - 1) ** 2).mean()


class Discriminator(nn.Module):
    """Five convolutional blocks and two dense layers (Huang et al. 2021, Fig. S8)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 1
        for level in range(5):
            channels = 20 * 2**level
            layers += [
                nn.Conv2d(before, channels, 3, padding=1),
                nn.LeakyReLU(0.1, inplace=True),
                nn.Conv2d(channels, channels, 3, stride=2, padding=1),
                nn.LeakyReLU(0.1, inplace=True),
            ]
            before = channels
        self.blocks = nn.Sequential(*layers)
        self.dense = nn.Sequential(
            nn.Linear(before, 20), nn.ReLU(inplace=True), nn.Linear(20, 1), nn.Sigmoid()
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Images (N, 1, H, W) → how real they look, (N, 1), 0 to 1."""
        judged: torch.Tensor = self.dense(self.blocks(image).mean(dim=(-2, -1)))
        return judged
