"""Types of the public functions' keyword options, for type checkers.

Made from the configurations of the stages by `python scripts/render_api.py`; do not edit.
"""

from typing import TypedDict


class SimulateOptions(TypedDict, total=False):
    """Keyword options of `handgen.simulate`."""

    views: int
    frames: int
    size: tuple[int, int]
    seed: int
    hands: str
    fps: float
    rig: str
    background: str
    subject_seed: int | None
    motion: str
    shutter_s: float
    sync_error_frames: float
    calibration_error_px: float
    video: bool
    crf: int
    jpeg_quality: int
    renderer: str
    workers: int | None


class AnnotateOptions(TypedDict, total=False):
    """Keyword options of `handgen.annotate`."""

    detector: str
    keypoints: str | None
    weights: str | None
    hands: str | None
    subject: str | None
    hand_model: str
    calibration: str | None
    metres_per_unit: float | str | None
    chunk_frames: int
    min_views: int
    max_error_share: float
    min_mask_iou: float
    max_uncertainty_mm: float
    background: str
    acceleration_mm_s2: float
    redetect: bool
    refine: str
    track: str
    refine_extrinsics: bool
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
    jpeg_quality: tuple[int, int]
    include_rejected: bool
    flip_probability: float
    rotation_deg: float
    hand_share: tuple[float, float]
    shift_share: float
    light_matching: float
    shadow_probability: float
    occluder_probability: float
    grain: bool
    blend: str
    forearm_probability: float
    other_hand: bool
    augment: str
    workers: int | None
    engine: str
    address: str | None


class EvaluateOptions(TypedDict, total=False):
    """Keyword options of `handgen.evaluate`."""

    include_rejected: bool
    match_distance_mm: float
    align_world: bool
    fingertip_frames: int
    fps: float | None
    calibration: str | None
    worst: int
    workers: int | None


class ExportOptions(TypedDict, total=False):
    """Keyword options of `handgen.export`."""

    split: str | None
    include_rejected: bool
    mirror_left: bool
    wholebody: bool
    segmentation: str
    model_is_mano: bool
    workers: int | None
    engine: str
    address: str | None


class ImportOptions(TypedDict, total=False):
    """Keyword options of `handgen.import_dataset`."""

    split: str | None
    limit: int | None
    hand_model: str | None
    chunk_frames: int
    min_mask_iou: float
    skip_missing: bool
    workers: int | None
