"""Write HaMeR's training tars (`handgen.datasets.hamer.layout`), and the entry of its configuration."""

from __future__ import annotations

import io
import pickle
import pickletools
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby
from typing import Any

import numpy as np
import yaml
from jaxtyping import Float

from handgen.datasets.hamer.layout import BOX_UNIT_PX, CONFIGURATION, LABELS, MASKS, PADDING
from handgen.datasets.writer import TOO_FEW, ExportJob, File, Writer, Written
from handgen.errors import HandgenError
from handgen.hand.conversions import sides_mirror
from handgen.media import images
from handgen.records.labelled_image import MIN_KEYPOINTS, LabelledHand, LabelledImage, in_picture
from handgen.storage import filesystem
from handgen.storage.tar import write_tar

_HEAD = "# For hamer/configs/datasets_tar.yaml; then name it in the experiment's DATASETS.TRAIN with a WEIGHT.\n"
_FEW_TARS = 8
_PICKLE_PROTOCOL = 3  # the last one that writes names as lines of text


class HamerWriter(Writer):
    """Writes HaMeR's tars."""

    def __init__(self, job: ExportJob) -> None:
        self._job = job
        self._tars: list[int] = []
        self._mirrored: dict[str, bool] = {}

    def write(self, unit: int, first: int, pictures: Iterable[LabelledImage]) -> Written:
        """Write a unit's tar, or none where no picture can be used."""
        written = Written()
        members = self._members(pictures, written)
        first_member = next(members, None)
        if first_member is not None:
            name = f"{unit:06d}.tar"
            tar = write_tar(self._job.out / name, chain([first_member], members))
            written.files.append(File(name, tar.bytes, tar.sha256))
        return written

    def _members(self, pictures: Iterable[LabelledImage], written: Written) -> Iterator[tuple[str, bytes]]:
        for picture in pictures:
            hands = [hand for hand in picture.hands if in_picture(hand, picture).sum() >= MIN_KEYPOINTS]
            written.leave_out(TOO_FEW, len(picture.hands) - len(hands))
            if not hands:
                continue
            written.hands += len(hands)
            assert picture.image is not None and "." not in picture.name
            entries = [_entry(hand, picture, i, self._is_trusted(hand)) for i, hand in enumerate(hands)]
            yield f"{picture.name}.{picture.suffix}", picture.image
            yield f"{picture.name}.{LABELS}", pickle_labels(entries)
            yield f"{picture.name}.{MASKS}", _masks(picture, hands)

    def _is_trusted(self, hand: LabelledHand) -> bool:
        """Tell whether the loader may learn from the parameters: it takes a left hand's for a mirrored right one's."""
        given = hand.parameters
        if given is None or not self._job.is_mano(given.model):
            return False
        return hand.side == "right" or self._mirrors(given.model_sha256)

    def _mirrors(self, sha256: str | None) -> bool:
        if sha256 is not None and sha256 not in self._mirrored:
            try:
                right, left = (self._job.source.arrays(sha256, side) for side in ("right", "left"))
                self._mirrored[sha256] = sides_mirror(right, left)
            except HandgenError:  # one side is not here
                self._mirrored[sha256] = False
        return sha256 is not None and self._mirrored[sha256]

    def finish(self, units: Sequence[Written]) -> list[File]:
        """Write nothing more; return the tars."""
        files = [file for written in units for file in written.files]
        self._tars = [_number(file.name) for file in files]
        return files

    def place(self, manifest: dict[str, Any]) -> None:
        """Write the entry of HaMeR's configuration, which names the tars by their place."""
        out = self._job.out.absolute()
        name = re.sub(r"[^A-Z0-9_-]+", "-", f"HANDGEN-{out.name}-{manifest['split']}".upper())
        tars = [_number(file["name"]) for file in manifest["files"]]
        urls = [f"{out}/{pattern}.tar" for pattern in brace_patterns(tars)]
        entry = {"TYPE": "ImageDataset", "URLS": urls[0] if len(urls) == 1 else urls, "epoch_size": manifest["hands"]}
        text = _HEAD + yaml.safe_dump({name: entry}, sort_keys=False, width=10_000)
        filesystem.put(self._job.out / CONFIGURATION, text.encode())

    def notes(self) -> list[str]:
        """Remarks on the configuration and on parameters that the loader leaves out."""
        notes = [f"paste {CONFIGURATION} into hamer/configs/datasets_tar.yaml"]
        if len(self._tars) < _FEW_TARS:
            notes.append(f"{len(self._tars)} tars: take epoch_size out, and the loader needs one per worker at least")
        if filesystem.is_remote(self._job.out):
            notes.append(f"the loader reads a store's tars as `pipe:` commands: change URLS in {CONFIGURATION}")
        elif set("{}$") & set(str(self._job.out.absolute())):
            notes.append(f"the loader takes {{}}$ in a path for patterns: move the tars, or correct {CONFIGURATION}")
        models = self._job.source.models
        if not self._job.all_mano:
            notes.append(
                "parameters are of a hand model other than MANO: they are written, but has_hand_pose and has_betas "
                "are 0, so the loader learns from keypoints alone"
            )
        elif not all(map(self._mirrors, models)):
            notes.append(
                "the left hand of the model is not the mirror image of its right, or not here: parameters of left "
                "hands are written, but has_hand_pose and has_betas are 0"
            )
        return notes


def _number(tar: str) -> int:
    return int(tar.partition(".")[0])


def _entry(hand: LabelledHand, picture: LabelledImage, index: int, trusted: bool) -> dict[str, Any]:
    inside, parameters = in_picture(hand, picture), hand.parameters
    low, high = hand.keypoints_px[inside].min(0), hand.keypoints_px[inside].max(0)
    if hand.keypoints_cam_m is None or parameters is None:
        raise HandgenError(f"{picture.name}: has no 3D keypoints or no parameters; choose the format coco")
    return {
        "keypoints_2d": _floats(np.column_stack([hand.keypoints_px, inside])),
        "keypoints_3d": _floats(np.column_stack([hand.keypoints_cam_m, hand.labelled])),
        "center": _floats((low + high) / 2),
        "scale": _floats(PADDING * (high - low) / BOX_UNIT_PX),
        "hand_pose": _floats(parameters.pose),
        "betas": _floats(parameters.betas),
        "right": np.float32(hand.side == "right"),
        "has_hand_pose": np.float32(trusted),
        "has_betas": np.float32(trusted),
        "extra_info": {"detection_npz_idx": index},
    }


def _floats(values: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    return np.ascontiguousarray(values, np.float32)


def _masks(picture: LabelledImage, hands: Sequence[LabelledHand]) -> bytes:
    """Pack a mask per hand; only the first is known, and the loader takes a full one as none."""
    width, height = picture.size_px
    masks = np.ones((len(hands), height, width), bool)
    for i, hand in enumerate(hands):
        if hand is picture.hands[0] and picture.mask is not None:
            masks[i] = images.decode_mask(picture.mask, f"{picture.name}, mask", picture.size_px) > 127
    packed = io.BytesIO()
    np.savez_compressed(packed, masks=masks)
    return packed.getvalue()


def pickle_labels(value: Any) -> bytes:
    """Pickle a value so that numpy 1 reads it as well as numpy 2, which wrote it.

    numpy 2 calls its own parts `numpy._core`, which numpy 1 does not have; both know `numpy.core`.
    """
    data = pickle.dumps(value, protocol=_PICKLE_PROTOCOL)
    pieces, at = [], 0
    for opcode, argument, position in pickletools.genops(data):
        if opcode.name == "GLOBAL" and str(argument).startswith("numpy._core."):
            assert position is not None
            start = position + 1
            pieces += [data[at:start], b"numpy.core."]
            at = start + len(b"numpy._core.")
    return b"".join([*pieces, data[at:]])


def brace_patterns(numbers: Sequence[int]) -> list[str]:
    """Write rising numbers as braceexpand reads them: {000000..000007} per run of neighbours."""
    found = []
    for _, group in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        run = [number for _, number in group]
        found.append(f"{run[0]:06d}" if len(run) == 1 else f"{{{run[0]:06d}..{run[-1]:06d}}}")
    return found
