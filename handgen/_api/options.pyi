"""Types of the public functions' keyword options, for type checkers.

Made from the configurations of the stages by `python scripts/render_api.py`; do not edit.
"""

from typing import Literal, TypedDict

from handgen._api.config import Place

class SimulateOptions(TypedDict, total=False):
    """Keyword options of `handgen.simulate`."""

    views: int
    frames: int
    size: tuple[int, int]
    fps: float
    seed: int
    subject_seed: int | None
    rig: str
    lens: str
    hands: str | None
    motion: str
    background: str
    shutter: float
    sync_error: float
    calibration_error: float
    format: str
    renderer: str
    workers: int | None
    crf: int
    jpeg_quality: int
    without: tuple[str, ...]

class AnnotateOptions(TypedDict, total=False):
    """Keyword options of `handgen.annotate`."""

    calibration: Place | None
    metres_per_unit: float | Literal["auto"] | None
    hands: str | None
    subject: str | None
    detector: str
    keypoints: Place | None
    keypoints_of: str
    weights: Place | None
    hand_model: str
    background: str
    max_error: float
    min_iou: float
    max_uncertainty: float
    redetect: bool
    refine: str
    term: tuple[str, ...]
    track: str
    refine_extrinsics: bool
    keep_suspects: bool
    acceleration: float
    min_views: int
    chunk_frames: int
    device: str
    workers: int | None
    engine: str
    address: str | None
    preview: int

class SynthesizeOptions(TypedDict, total=False):
    """Keyword options of `handgen.synthesize`."""

    samples: int | None
    size: int
    seed: int
    split: str
    split_by: str
    samples_per_shard: int | None
    flip: float
    light: float
    shadow: float
    occluder: float
    spectrum: float
    grain: bool
    blend: str
    forearm: float
    other_hand: bool
    augment: str
    include_rejected: bool
    workers: int | None
    engine: str
    address: str | None
    jpeg_quality: tuple[int, int]
    rotation_deg: float
    hand_share: tuple[float, float]
    shift_share: float

class EvaluateOptions(TypedDict, total=False):
    """Keyword options of `handgen.evaluate`."""

    calibration: Place | None
    include_rejected: bool
    match_distance: float
    align_world: bool
    fingertip_frames: int
    fps: float | None
    worst: int
    workers: int | None

class ExportOptions(TypedDict, total=False):
    """Keyword options of `handgen.export`."""

    split: str | None
    mirror_left: bool
    wholebody: bool
    segmentation: str
    model_is_mano: bool
    include_rejected: bool
    workers: int | None
    engine: str
    address: str | None

class ImportOptions(TypedDict, total=False):
    """Keyword options of `handgen.import_dataset`."""

    split: str | None
    limit: int | None
    hand_model: str | None
    min_iou: float
    chunk_frames: int
    skip_missing: bool
    workers: int | None
