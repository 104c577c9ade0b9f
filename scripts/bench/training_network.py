"""The small keypoint network of `training.py`: heatmaps of 21 keypoints, their centres, and how it is trained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn
from torch.nn.functional import interpolate

KEYPOINTS = 21
PCK_SHARE = 0.1  # of the longer side of the box around a hand's keypoints: this near counts as found
_WIDTHS = (16, 32, 48, 64)  # channels where the side is 1/2, 1/4, 1/8 and 1/16 of the input's
_MERGED = 48  # channels of the heatmaps' features


@dataclass(frozen=True)
class Samples:
    """Crops with the true keypoints in them, pixels, centre of the first pixel at 0; unseen ones teach nothing."""

    images: UInt8[np.ndarray, "n side side 3"]
    keypoints_px: Float[np.ndarray, "n 21 2"]
    visible: Bool[np.ndarray, "n 21"]

    def __post_init__(self) -> None:
        if self.keypoints_px.shape != (len(self.images), KEYPOINTS, 2):
            raise ValueError(f"keypoints_px: {self.keypoints_px.shape} for {len(self.images)} images")


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to learn. learning_rate: the largest; it rises and falls (one cycle)."""

    epochs: int
    batch: int = 32
    learning_rate: float = 4e-3


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class KeypointNetwork(nn.Module):
    """Features at four scales, merged at a quarter of the input's; a keypoint is the mean of its heatmap."""

    def __init__(self) -> None:
        super().__init__()
        half, quarter, eighth, sixteenth = _WIDTHS
        self.quarter = nn.Sequential(_block(3, half, 2), _block(half, quarter, 2), _block(quarter, quarter))
        self.eighth = nn.Sequential(_block(quarter, eighth, 2), _block(eighth, eighth))
        self.sixteenth = nn.Sequential(_block(eighth, sixteenth, 2), _block(sixteenth, sixteenth))
        self.from_sixteenth = nn.Conv2d(sixteenth, eighth, 1)
        self.mix_eighth = _block(eighth, eighth)
        self.from_eighth = nn.Conv2d(eighth, _MERGED, 1)
        self.from_quarter = nn.Conv2d(quarter, _MERGED, 1)
        self.heat = nn.Sequential(_block(_MERGED, _MERGED), nn.Conv2d(_MERGED, KEYPOINTS, 1))

    def forward(self, images: Float[Tensor, "n 3 side side"]) -> Float[Tensor, "n 21 2"]:
        """Keypoints as shares of the side, 0 to 1, of images of 0 to 1."""
        quarter = self.quarter(images - 0.5)
        eighth = self.eighth(quarter)
        eighth = self.mix_eighth(eighth + interpolate(self.from_sixteenth(self.sixteenth(eighth)), scale_factor=2.0))
        heat = self.heat(self.from_quarter(quarter) + interpolate(self.from_eighth(eighth), scale_factor=2.0))
        return heat_means(heat)


def heat_means(heat: Float[Tensor, "n 21 rows columns"]) -> Float[Tensor, "n 21 2"]:
    """Return the centre of each heatmap, as shares of its sides."""
    count, _, rows, columns = heat.shape
    share = heat.flatten(2).softmax(-1).view(count, KEYPOINTS, rows, columns)
    x = (torch.arange(columns) + 0.5) / columns
    y = (torch.arange(rows) + 0.5) / rows
    return torch.stack([(share.sum(2) * x).sum(-1), (share.sum(3) * y).sum(-1)], -1)


def train(samples: Samples, schedule: Schedule, seed: int) -> KeypointNetwork:
    """A network trained on `samples` as they are: nothing is augmented here, so that sets can be compared."""
    torch.manual_seed(seed)
    order = torch.Generator().manual_seed(seed)
    model = KeypointNetwork().to(memory_format=torch.channels_last)
    images = torch.from_numpy(samples.images)
    truth = (torch.from_numpy(samples.keypoints_px).float() + 0.5) / images.shape[1]
    visible = torch.from_numpy(samples.visible)
    steps = schedule.epochs * (len(images) // schedule.batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=schedule.learning_rate, weight_decay=1e-2)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, schedule.learning_rate, total_steps=steps, pct_start=0.2)
    model.train()
    for _ in range(schedule.epochs):
        for chosen in torch.randperm(len(images), generator=order).split(schedule.batch):
            if len(chosen) < schedule.batch:
                continue
            loss = (model(as_input(images[chosen])) - truth[chosen]).norm(dim=-1)[visible[chosen]].mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rates.step()
    return model


def predict(model: KeypointNetwork, images: UInt8[np.ndarray, "n side side 3"]) -> Float[np.ndarray, "n 21 2"]:
    """Keypoints, pixels."""
    model.eval()
    with torch.no_grad():
        batches = torch.from_numpy(images).split(64)
        found = torch.cat([model(as_input(batch)) for batch in batches])
    return found.numpy() * images.shape[1] - 0.5


def pck(found_px: Float[np.ndarray, "n 21 2"], truth_px: Float[np.ndarray, "n 21 2"]) -> Float[np.ndarray, " n"]:
    """Return, per hand, the share of keypoints within `PCK_SHARE` of the longer side of the hand's box."""
    reach = PCK_SHARE * box_sides(truth_px)[:, None]
    return (np.linalg.norm(found_px - truth_px, axis=-1) < reach).mean(1)


def box_sides(keypoints_px: Float[np.ndarray, "n 21 2"]) -> Float[np.ndarray, " n"]:
    """Return the longer side of the box around each hand's keypoints."""
    return (keypoints_px.max(1) - keypoints_px.min(1)).max(-1)


def as_input(images: UInt8[Tensor, "n side side 3"]) -> Float[Tensor, "n 3 side side"]:
    """Return pixels of 0 to 1."""
    return images.permute(0, 3, 1, 2).float() / 255  # a view of channels-last memory, which convolutions like
