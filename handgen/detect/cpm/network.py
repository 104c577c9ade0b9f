"""PoseNet of hand3d, a convolutional pose machine, turns a crop with a hand into a score map per keypoint.

Architecture and weights are of C. Zimmermann and T. Brox, "Learning to Estimate 3D Hand Pose from Single RGB Images"
(ICCV 2017), github.com/lmb-freiburg/hand3d, `nets/ColorHandPose3DNetwork.py`. Their file is a pickled dictionary of
float32 arrays, `PoseNet2D/<layer>/weights` (height, width, in, out) and `.../biases`; its other networks
(`PosePrior/...`, `ViewpointNet/...`) are left alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from handgen.errors import HandgenError, explain_unreadable
from handgen.hand.skeleton import KEYPOINT_COUNT
from handgen.storage import filesystem, limits
from handgen.storage.inert_unpickler import Contents, check_size
from handgen.storage.pickles import read_pickle

INPUT_PX = 256
CELL_PX = 8  # three max-pools of 2
# In the pickle of all three networks 82 MiB are numbers. As text (protocol 0) they take three times as much, and the
# reader counts an array that Python 3 wrote for Python 2 twice.
WEIGHTS = Contents(
    "file of hand3d's weights",
    file=limits.WEIGHTS,
    arrays=limits.WEIGHT_ARRAYS,
    source="Get them (posenet3d-rhd-stb-slr-finetuned.pickle) from github.com/lmb-freiburg/hand3d",
)
_PREFIX = "PoseNet2D"
_SLOPE = 0.01  # of the leaky ReLU, hand3d's `utils/general.py`
_ENCODING = 128
_STAGES = (6, 7)  # that refine the first scores


def _layers() -> dict[str, tuple[int, int, int]]:
    """Name -> kernel size, channels in, channels out."""
    channels = {
        "conv1": (3, 64, 64),
        "conv2": (64, 128, 128),
        "conv3": (128, 256, 256, 256, 256),
        "conv4": (256, 512, 512, 256, 256, 256, 256, _ENCODING),
    }
    found = {
        f"{block}_{k}": (3, counts[k - 1], counts[k])
        for block, counts in channels.items()
        for k in range(1, len(counts))
    }
    found |= {"conv5_1": (1, _ENCODING, 512), "conv5_2": (1, 512, KEYPOINT_COUNT)}
    for stage in _STAGES:
        found[f"conv{stage}_1"] = (7, KEYPOINT_COUNT + _ENCODING, 128)
        found |= {f"conv{stage}_{k}": (7, 128, 128) for k in range(2, 6)}
        found |= {f"conv{stage}_6": (1, 128, 128), f"conv{stage}_7": (1, 128, KEYPOINT_COUNT)}
    return found


LAYERS = _layers()
_POOLED = ("conv1_2", "conv2_2", "conv3_4")  # a max-pool follows


@dataclass(frozen=True)
class PoseNetwork:
    """The network. layers: name -> weights (out, in, height, width) and biases (out,)."""

    layers: Mapping[str, tuple[Tensor, Tensor]]

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, np.ndarray | str], where: str, device: str = "cpu", dtype: torch.dtype = torch.float32
    ) -> PoseNetwork:
        """Build the network; HandgenError naming the first array that is missing, of another shape, or not finite."""
        layers = {}
        for name, (size, inputs, outputs) in LAYERS.items():
            weights = _check_layer(arrays, f"{_PREFIX}/{name}/weights", (size, size, inputs, outputs), where)
            biases = _check_layer(arrays, f"{_PREFIX}/{name}/biases", (outputs,), where)
            layers[name] = (
                torch.from_numpy(np.ascontiguousarray(weights.transpose(3, 2, 0, 1))).to(device, dtype),
                torch.from_numpy(np.array(biases)).to(device, dtype),
            )
        return cls(layers)

    def scores(self, crops: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n 21 rows columns"]:
        """Return the last stage's score maps, hand3d's order, a cell for 8x8 px of RGB crops (value / 255 - 0.5)."""
        values = crops
        for name in LAYERS:
            if name == "conv5_1":
                break
            values = self._active(name, values)
            values = functional.max_pool2d(values, 2) if name in _POOLED else values
        encoding = values
        scores = self._plain("conv5_2", self._active("conv5_1", encoding))
        for stage in _STAGES:
            values = torch.cat([scores, encoding], 1)
            for k in range(1, 7):
                values = self._active(f"conv{stage}_{k}", values)
            scores = self._plain(f"conv{stage}_7", values)
        return scores

    def score_crop(self, crop: UInt8[np.ndarray, "256 256 3"]) -> Float[np.ndarray, "21 32 32"]:
        """Return the score maps of one RGB crop."""
        weights = self.layers["conv1_1"][0]
        with torch.inference_mode():
            values = torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1)))[None].to(weights.device)
            return self.scores(values.to(weights.dtype) / 255 - 0.5)[0].cpu().numpy()

    def _plain(self, name: str, values: Tensor) -> Tensor:
        weights, biases = self.layers[name]
        return functional.conv2d(values, weights, biases, padding=weights.shape[-1] // 2)

    def _active(self, name: str, values: Tensor) -> Tensor:
        return functional.leaky_relu(self._plain(name, values), _SLOPE)


def load_network(path: Path, device: str = "cpu") -> tuple[PoseNetwork, str]:
    """Read the network and its file's SHA-256, once per process while it is unchanged; HandgenError for another."""
    with explain_unreadable(path, WEIGHTS.source):
        status = path.stat()
        if not path.is_file():
            raise HandgenError(f"{path}: not a file; {WEIGHTS.source}")
        check_size(status.st_size, str(path), WEIGHTS)
    return _load(path, device, (status.st_size, status.st_mtime_ns))


@lru_cache(maxsize=1)
def _load(path: Path, device: str, stamp: tuple[int, int]) -> tuple[PoseNetwork, str]:
    with explain_unreadable(path), filesystem.open_read(path) as stream:
        data = stream.read(WEIGHTS.file.allowed + 1)
    network = PoseNetwork.from_arrays(read_pickle(data, str(path), WEIGHTS), str(path), device)
    return network, hashlib.sha256(data).hexdigest()


def _check_layer(
    arrays: Mapping[str, np.ndarray | str], key: str, shape: tuple[int, ...], where: str
) -> Float[np.ndarray, "..."]:
    array = arrays.get(key)
    if not isinstance(array, np.ndarray):
        raise HandgenError(f"{where}: no array {key}; is it another network's file? {WEIGHTS.source}")
    if array.shape != shape or array.dtype.kind != "f":
        raise HandgenError(f"{where}: {key}: {array.dtype} of shape {array.shape}, expected numbers, {shape}")
    if not np.isfinite(array).all():
        raise HandgenError(f"{where}: {key}: values that are not finite; the file is damaged")
    return array.astype(np.float32 if array.dtype.itemsize <= 4 else np.float64)
