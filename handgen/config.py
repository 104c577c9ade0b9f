"""One frozen dataclass per stage. Imports nothing heavy, so that commands take their defaults from here."""

from __future__ import annotations

import re
from dataclasses import dataclass

RIGS = ("ring", "cage", "stereo")
ENGINES = ("local", "ray")
SUBJECT_PATTERN = r"[A-Za-z0-9._-]{1,64}"  # as in capture.schema.json
_SHARE_TOLERANCE = 1e-6  # of the sum of splits' shares
MOTIONS = ("calm", "fast", "interact")
RENDERERS = ("raycast", "mitsuba")


def _check_engine(engine: str, workers: int | None, address: str | None) -> None:
    if engine not in ENGINES:
        raise ValueError(f"engine must be {' or '.join(ENGINES)}, got {engine!r}")
    if address is not None and engine != "ray":
        raise ValueError("address is of a Ray cluster; give engine ray with it")
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")


@dataclass(frozen=True)
class AnnotateConfig:
    """Options of `annotate`. Everything but `workers`, `device` and `preview` decides the annotations.

    detector: "mediapipe", "keypoints" or "cpm". keypoints: the file or folder that the second reads. weights: the
    file of the third's network.
    hands: which are in view, "left", "right" or "both"; None: as the capture says, else both.
    subject: name of the person; None: as the capture says, else nobody's.
    hand_model: "open", "mano" (see `handgen models add`), or the path of an .npz in MANO's format with {side} in it.
    calibration: a file or folder, or None to look for it in the capture.
    metres_per_unit: a number, "auto" (so that the hand has mean size), or None: as the calibration says.
    chunk_frames: frames per unit of work; the detector's tracking starts anew in each.
    min_views: a record of a hand seen in fewer is rejected; two are needed to triangulate at all.
    max_error_share: largest median distance between fit and detection, as a share of the hand's extent in the image;
    beyond it a view, or a record by the median of its views, is rejected.
    min_mask_iou: smallest overlap of segmented mask and projected mesh of an accepted view.
    max_uncertainty_mm: largest error of a keypoint that an accepted fit expects of itself (`expected_error_mm`).
    background: "green", "blue", "any", or "auto" to look at the pixels around the hand.
    track: "silhouette" to carry hands by their masks where the detector is silent, or "keypoints".
    refine: "silhouette" to fit masks together with the keypoints, or "none".
    refine_extrinsics: whether cameras that moved after the calibration are put where the hands say that they are.
    look_again: whether views that missed a hand which others saw are searched where it must be.
    acceleration_mm_s2: of a keypoint, usual (one sigma); 0: frames are fitted on their own and gaps are left open.
    device: of the fit. workers: processes, or None for one per core. preview: overlay pictures to write.
    engine: "local" (processes of this machine) or "ray". address: of a Ray cluster, or None.
    """

    detector: str = "mediapipe"
    keypoints: str | None = None
    weights: str | None = None
    hands: str | None = None
    subject: str | None = None
    hand_model: str = "open"
    calibration: str | None = None
    metres_per_unit: float | str | None = None
    chunk_frames: int = 64
    min_views: int = 2
    max_error_share: float = 0.08
    min_mask_iou: float = 0.70
    max_uncertainty_mm: float = 15.0
    background: str = "auto"
    acceleration_mm_s2: float = 5_000.0
    look_again: bool = True
    refine: str = "silhouette"
    track: str = "keypoints"
    refine_extrinsics: bool = False
    device: str = "cpu"
    workers: int | None = None
    engine: str = "local"
    address: str | None = None
    preview: int = 0

    def __post_init__(self) -> None:
        if self.hands not in (None, "left", "right", "both"):
            raise ValueError(f"hands must be left, right or both, got {self.hands!r}")
        if self.subject is not None and not re.fullmatch(SUBJECT_PATTERN, self.subject):
            raise ValueError(f"subject must be 1 to 64 letters, digits or any of ._-, got {self.subject!r}")
        if self.background not in ("auto", "green", "blue", "any"):
            raise ValueError(f"background must be auto, green, blue or any, got {self.background!r}")
        if self.track not in ("keypoints", "silhouette"):
            raise ValueError(f"track must be keypoints or silhouette, got {self.track!r}")
        if self.refine not in ("silhouette", "none"):
            raise ValueError(f"refine must be silhouette or none, got {self.refine!r}")
        if not re.fullmatch(r"cpu|cuda(:\d{1,3})?", self.device):
            raise ValueError(f"device must be cpu, cuda or cuda:N, got {self.device!r}")
        _check_engine(self.engine, self.workers, self.address)
        if self.chunk_frames < 1 or self.min_views < 1 or self.preview < 0:
            raise ValueError("chunk_frames and min_views must be at least 1, preview at least 0")
        if not self.max_uncertainty_mm > 0:
            raise ValueError(f"max_uncertainty_mm must be above 0, got {self.max_uncertainty_mm:g}")
        if not 0 <= self.acceleration_mm_s2 < 1e9:
            raise ValueError(f"acceleration_mm_s2 must be 0 or more, got {self.acceleration_mm_s2:g}")
        if not 0 < self.max_error_share <= 1 or not 0 <= self.min_mask_iou <= 1:
            raise ValueError("max_error_share and min_mask_iou must be shares between 0 and 1")


@dataclass(frozen=True)
class SynthesizeConfig:
    """Options of `synthesize`. Everything but `workers` decides the bytes of the shards.

    samples: how many, or None for one per accepted view. All accepted views are used equally often (to within
    one).
    size: width and height of a sample, pixels.
    split: first part of the shards' names, `{split}-000000.tar`; or several and the share of each: "train=0.9,val=0.1".
    split_by: what no two splits have in common: "subject" or "sequence" (subjects may be in several then).
    samples_per_shard: or None for 1000, fewer where that would give fewer than 8 shards (readers and workers
    share the data by shards). It never depends on `workers`.
    jpeg_quality: smallest and largest, drawn per sample.
    include_rejected: also use views and records that `annotate` rejected.
    flip_probability: of a mirrored sample (a right hand becomes a left one), where the model's sides mirror
    each other.
    rotation_deg: largest roll of the virtual camera, either way.
    hand_share: smallest and largest share of the sample's side that the hand's longer side fills.
    shift_share: largest shift of the hand from the centre, per axis, as a share of the sample's side.
    light_matching: largest share of the way from the hand's own light to the background's.
    shadow_probability: of a shadow that the hand throws on the background.
    occluder_probability: of something in front of the hand, which lowers `visible`.
    grain: whether hand and background get the same noise and the same JPEG history.
    blend: how edges are laid in: "alpha", "poisson" (gradients of the hand, slower), or "hard" (no soft edge).
    forearm_probability: of the forearm staying on the hand, where the annotations have it. Masks are of the hand alone.
    other_hand: whether the other hand of the same frame and view is laid in with the hand, as the two were.
    augment: photometric augmentation: "default", "none", or the path of a YAML file.
    workers: processes, or None for one per core. engine: "local" (processes of this machine) or "ray". address: of a
    Ray cluster, or None.
    """

    samples: int | None = None
    size: int = 224
    seed: int = 0
    split: str = "train"
    split_by: str = "subject"
    samples_per_shard: int | None = None
    jpeg_quality: tuple[int, int] = (75, 95)
    include_rejected: bool = False
    flip_probability: float = 0.5
    rotation_deg: float = 60.0
    hand_share: tuple[float, float] = (0.5, 0.9)
    shift_share: float = 0.08
    light_matching: float = 0.5
    shadow_probability: float = 0.7
    occluder_probability: float = 0.15
    grain: bool = True
    blend: str = "alpha"
    forearm_probability: float = 0.5
    other_hand: bool = True
    augment: str = "default"
    workers: int | None = None
    engine: str = "local"
    address: str | None = None

    def __post_init__(self) -> None:
        if self.samples is not None and self.samples < 1:
            raise ValueError(f"samples must be at least 1, got {self.samples}")
        if not 16 <= self.size <= 4096:
            raise ValueError(f"size must be 16 to 4096 px, got {self.size}")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed must be 0 to 2**63 - 1, got {self.seed}")
        self.splits()
        if self.split_by not in ("subject", "sequence"):
            raise ValueError(f"split_by must be subject or sequence, got {self.split_by!r}")
        if self.samples_per_shard is not None and not 1 <= self.samples_per_shard <= 100_000:
            raise ValueError(f"samples_per_shard must be 1 to 100000, got {self.samples_per_shard}")
        if not 1 <= self.jpeg_quality[0] <= self.jpeg_quality[1] <= 100:
            raise ValueError(f"jpeg_quality must rise within 1 to 100, got {self.jpeg_quality}")
        for name in (
            "flip_probability",
            "light_matching",
            "shadow_probability",
            "occluder_probability",
            "forearm_probability",
        ):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be 0 to 1, got {getattr(self, name)}")
        if not 0 <= self.rotation_deg <= 180:
            raise ValueError(f"rotation_deg must be 0 to 180, got {self.rotation_deg}")
        if not 0.05 <= self.hand_share[0] <= self.hand_share[1] <= 2:
            raise ValueError(f"hand_share must rise within 0.05 to 2, got {self.hand_share}")
        if not 0 <= self.shift_share <= 0.5:
            raise ValueError(f"shift_share must be 0 to 0.5, got {self.shift_share}")
        if self.blend not in ("alpha", "poisson", "hard"):
            raise ValueError(f"blend must be alpha, poisson or hard, got {self.blend!r}")
        _check_engine(self.engine, self.workers, self.address)

    def splits(self) -> tuple[tuple[str, float], ...]:
        """Name and share of each split; shares sum to 1.

        Raises ValueError when `split` says something else.
        """
        if "=" not in self.split and "," not in self.split:
            parts = [(self.split, "1")]
        else:
            named = (part.partition("=") for part in self.split.split(","))
            parts = [(name.strip(), share) for name, _, share in named]
        found: dict[str, float] = {}
        for name, text in parts:
            if not re.fullmatch(r"[A-Za-z0-9_]{1,32}", name):
                raise ValueError(f"split must be 1 to 32 letters, digits or underscores, got {name!r}")
            if name in found:
                raise ValueError(f"split {name} is named twice in {self.split!r}")
            try:
                found[name] = float(text)
            except ValueError:
                raise ValueError(f"split {name}: {text!r} is no share; write {name}=0.9,OTHER=0.1") from None
            if not 0 < found[name] <= 1:
                raise ValueError(f"split {name}: a share must be above 0 and at most 1, got {text}")
        total = sum(found.values())
        if abs(total - 1) > _SHARE_TOLERANCE:
            raise ValueError(f"the shares of {self.split!r} sum to {total:g}; they must sum to 1")
        return tuple((name, share / total) for name, share in found.items())

    def shard_size(self, samples: int) -> int:
        """Samples per shard of a split of `samples`."""
        return self.samples_per_shard or max(1, min(1000, -(-samples // 8)))


@dataclass(frozen=True)
class SimulateConfig:
    """Options of `simulate`. Everything but `workers` decides the bytes of the capture.

    size: width and height, pixels. hands: "right", "left" or "both". fps: frames per second.
    rig: "ring" (an arc about the person's front, at several heights), "cage" (all round, above and below too) or
    "stereo" (side by side in front).
    background: "green" (a studio), "room" (furnished, with the person in it), or a folder of pictures.
    subject_seed: of the person, shape and skin and clothes; None: `seed`.
    motion: "calm", "fast", or "interact": both hands touch and interleave their fingers.
    shutter_s: how long a frame is exposed. sync_error_frames: how far a camera's clock strays from the others, either
    way, in frame intervals; it drifts through that range. calibration_error_px: RMS error of the calibration that is
    written, over the volume of the hands; the truth keeps the exact one.
    video: H.264 files instead of JPEG folders. crf: of the videos, lower is better. jpeg_quality: of the images.
    renderer: "raycast", or "mitsuba" for path tracing.
    workers: processes, or None for one per core.
    """

    views: int = 8
    frames: int = 120
    size: tuple[int, int] = (640, 480)
    seed: int = 0
    hands: str = "right"
    fps: float = 30.0
    rig: str = "ring"
    background: str = "room"
    subject_seed: int | None = None
    motion: str = "calm"
    shutter_s: float = 1 / 200
    sync_error_frames: float = 0.0
    calibration_error_px: float = 0.0
    video: bool = True
    crf: int = 20
    jpeg_quality: int = 95
    renderer: str = "raycast"
    workers: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.views <= 64:
            raise ValueError(f"views must be 1 to 64, got {self.views}")
        if not 1 <= self.frames <= 1_000_000:
            raise ValueError(f"frames must be 1 to 1000000, got {self.frames}")
        if not all(64 <= side <= 4096 for side in self.size):
            raise ValueError(f"size must be 64 to 4096 px, got {self.size[0]}x{self.size[1]}")
        if self.video and any(side % 2 for side in self.size):
            raise ValueError(f"size must be even for H.264, got {self.size[0]}x{self.size[1]}")
        for name in ("seed", "subject_seed"):
            seed = getattr(self, name)
            if seed is not None and not 0 <= seed < 2**63:
                raise ValueError(f"{name} must be 0 to 2**63 - 1, got {seed}")
        for name, allowed in (
            ("hands", ("left", "right", "both")),
            ("rig", RIGS),
            ("motion", MOTIONS),
            ("renderer", RENDERERS),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}")
        if self.motion == "interact" and self.hands != "both":
            raise ValueError("motion interact is of two hands; hands must be both")
        if not self.background:
            raise ValueError("background must be green, room or a folder of pictures")
        for name, low, high in (
            ("fps", 0.1, 1000),
            ("shutter_s", 0, 0.1),
            ("sync_error_frames", 0, 2),
            ("calibration_error_px", 0, 50),
            ("crf", 0, 51),
            ("jpeg_quality", 1, 100),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must be {low:g} to {high:g}, got {getattr(self, name):g}")
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"workers must be at least 1, got {self.workers}")


@dataclass(frozen=True)
class EvaluateConfig:
    """Options of `evaluate`.

    include_rejected: also measure records and views that `annotate` rejected.
    match_distance_mm: how far (mean over keypoints) an annotated hand may be from a true one and be the same hand.
    align_world: find the rigid motion between the two worlds instead of refusing annotations in another one.
    fingertip_frames: how many evenly chosen frames the fingertips are measured on.
    fps: frames per second for accelerations, or None: as the truth's manifest says, else the annotations'.
    capture: the folder of the capture that was annotated, to leave one view out; None: that is not done.
    calibration: a file or folder, where the capture holds none.
    worst: how many of the worst hands are named and, in a report, drawn.
    workers: processes, or None for one per core.
    """

    include_rejected: bool = False
    match_distance_mm: float = 100.0
    align_world: bool = False
    fingertip_frames: int = 100
    fps: float | None = None
    capture: str | None = None
    calibration: str | None = None
    worst: int = 12
    workers: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.match_distance_mm <= 10_000:
            raise ValueError(f"match_distance_mm must be above 0 and at most 10000, got {self.match_distance_mm}")
        if self.fingertip_frames < 1:
            raise ValueError(f"fingertip_frames must be at least 1, got {self.fingertip_frames}")
        if self.fps is not None and not 0 < self.fps <= 100_000:
            raise ValueError(f"fps must be above 0 and at most 100000, got {self.fps}")
        if not 0 <= self.worst <= 200:
            raise ValueError(f"worst must be 0 to 200, got {self.worst}")
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"workers must be at least 1, got {self.workers}")


EXPORT_FORMATS = ("hamer", "freihand", "coco", "interhand")


@dataclass(frozen=True)
class ExportConfig:
    """Options of `export`. Everything but `workers`, `engine` and `address` decides what is written.

    format: one of `EXPORT_FORMATS`. split: whose samples, where shards have several.
    include_rejected: of annotations, also what `annotate` rejected.
    mirror_left: of freihand, which knows right hands only: left ones become right ones, pictures and all.
    wholebody: of coco: one annotation per picture, as in COCO-WholeBody, instead of one per hand.
    segmentation: of coco: "rle", exact, or "polygon".
    model_is_mano: whether a hand model that is not called "mano" is MANO all the same.
    """

    format: str = "hamer"
    split: str | None = None
    include_rejected: bool = False
    mirror_left: bool = False
    wholebody: bool = False
    segmentation: str = "rle"
    model_is_mano: bool = False
    workers: int | None = None
    engine: str = "local"
    address: str | None = None

    def __post_init__(self) -> None:
        if self.format not in EXPORT_FORMATS:
            raise ValueError(f"format must be one of {', '.join(EXPORT_FORMATS)}, got {self.format!r}")
        if self.segmentation not in ("rle", "polygon"):
            raise ValueError(f"segmentation must be rle or polygon, got {self.segmentation!r}")
        for name, format in (("mirror_left", "freihand"), ("wholebody", "coco")):
            if getattr(self, name) and self.format != format:
                raise ValueError(f"--{name.replace('_', '-')} is for --format {format}, not {self.format}")
        if self.segmentation != "rle" and self.format != "coco":
            raise ValueError(f"--segmentation is for --format coco, not {self.format}")
        _check_engine(self.engine, self.workers, self.address)


IMPORT_FORMATS = ("freihand", "hanco", "interhand")


@dataclass(frozen=True)
class ImportConfig:
    """Options of `import`. Everything but `workers` and `skip_missing` decides the annotations.

    format: one of `IMPORT_FORMATS`. split: the data set's own; None: the first that is there.
    limit: how many frames are read at most, the first ones; None: all.
    hand_model: "mano" or the path of an .npz ({side} in it where there are both) to take the data set's parameters over
    as that model's; "open" to fit the open hand to its keypoints; None: mano where it is installed, else open.
    chunk_frames: frames per unit of work. min_mask_iou: as for `annotate`.
    skip_missing: whether pictures that are not there are left out; else the first ends the run. A rerun may change it.
    workers: processes, or None for one per core.
    """

    format: str
    split: str | None = None
    limit: int | None = None
    hand_model: str | None = None
    chunk_frames: int = 64
    min_mask_iou: float = 0.70
    skip_missing: bool = False
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.format not in IMPORT_FORMATS:
            raise ValueError(f"format must be one of {', '.join(IMPORT_FORMATS)}, got {self.format!r}")
        for name in ("limit", "chunk_frames", "workers"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if not 0 <= self.min_mask_iou <= 1:
            raise ValueError(f"min_mask_iou must be a share between 0 and 1, got {self.min_mask_iou}")
