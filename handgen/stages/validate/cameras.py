"""Cameras of a calibration, a capture or annotations: each by itself, and whether together they can be a rig."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from handgen.geometry.camera import Camera, CameraSet
from handgen.geometry.rigid import Rigid
from handgen.io.calibration_files.base import median_baseline
from handgen.label_checks.evidence import Fault
from handgen.label_checks.findings import Findings
from handgen.label_checks.geometry import intrinsics_fault

BASELINE_M = (0.05, 10.0)  # median distance between two cameras
_AT_ONE_PLACE = 0.002  # of the median distance between cameras
_INVERTIBLE = 0.9  # of a grid over the picture; strong lenses lose their outermost corners
_GRID = 15
_ASPECT = 1.25  # of focal lengths in x and y
_OFF_MIDDLE = 0.5  # pictures that the principal point may be away from the middle
_DEPTHS = np.geomspace(0.1, 10, 25)  # where points that cameras may share are looked for, in median distances
_HEADSET_M = 0.25  # cameras that are nearer to each other may look apart on purpose
_AWAY_DEG, _TOGETHER_DEG = 90.0, 30.0  # of the point nearest to all optical axes from an axis
_UNITS = {1000.0: "millimetres", 100.0: "centimetres", 0.001: "kilometres"}
ABOUT = {
    "intrinsics": f"upper triangular, focal length positive and alike in x and y ({_ASPECT:g} times), principal point "
    "within the picture",
    "distortion": f"the lens model can be inverted over {_INVERTIBLE:.0%} of the picture",
    "camera twice": "no two cameras are at one place with one direction",
    "cameras apart": "no two cameras are at one place",
    "baseline": f"cameras are {BASELINE_M[0]:g} to {BASELINE_M[1]:g} m apart in the median; other units are named",
    "common view": "there is a place that all cameras see; inverted and transposed transforms are named",
}


def check_cameras(findings: Findings, where: str, cameras: Sequence[Camera], sized: bool = True) -> None:
    """Check cameras one by one. sized: whether pictures' sizes are known."""
    for camera in cameras:
        findings.add_fault("intrinsics", f"{where}, camera {camera.name}", _intrinsics(camera, sized))
        findings.add_fault("distortion", f"{where}, camera {camera.name}", _distortion(camera, sized))
    findings.looked_at.update({"intrinsics": len(cameras), "distortion": len(cameras)})


def check_rig(findings: Findings, where: str, cameras: Sequence[Camera], in_metres: bool) -> None:
    """Check cameras that saw the same hands. in_metres: whether their translations are known to be metres."""
    count = len(cameras)
    if count < 2:
        return
    findings.looked_at.update({"common view": count, "camera twice": count, "cameras apart": count})
    view = _common_view(cameras)
    if view is None and in_metres and median_baseline(cameras) > _HEADSET_M and (said := doubt(cameras)) is not None:
        view = Fault(said, "write cam_from_world: it takes points of the world to the camera")
    if view is not None:
        findings.add_fault("common view", where, view)
        return
    if in_metres:
        findings.looked_at["baseline"] += count
        findings.add_fault("baseline", where, _baseline(cameras))
    _check_apart(findings, where, cameras)


def _intrinsics(camera: Camera, sized: bool) -> Fault | None:
    k = camera.intrinsics
    fault = intrinsics_fault(k, np.array(camera.size_px, float), _OFF_MIDDLE if sized else 20.0)
    ratio = k[0, 0] / k[1, 1]
    if fault is None and not 1 / _ASPECT < ratio < _ASPECT:
        what = f"focal lengths in x and y are {k[0, 0]:g} and {k[1, 1]:g} px"
        fault = Fault(what, "calibrate at the video's own size")
    return fault


def _distortion(camera: Camera, sized: bool) -> Fault | None:
    if camera.is_ideal or not sized:
        return None
    width, height = camera.size_px
    grid = np.stack(np.meshgrid(np.linspace(0, width - 1, _GRID), np.linspace(0, height - 1, _GRID)), -1)
    _, valid = camera.undistort(grid.reshape(-1, 2))
    if valid.mean() >= _INVERTIBLE:
        return None
    coefficients = camera.distortion.round(4).tolist()
    what = f"the distortion {coefficients} cannot be inverted over {1 - valid.mean():.0%} of the picture"
    fix = "check the order of the coefficients (k1 k2 p1 p2 k3) and the lens model, or calibrate with fewer"
    return Fault(what, fix)


def _check_apart(findings: Findings, where: str, cameras: Sequence[Camera]) -> None:
    apart, median = CameraSet(tuple(cameras)).baselines(), median_baseline(cameras)
    is_apart = (apart > _AT_ONE_PLACE * max(median, 1e-12)) & (apart > 0)
    for i, j in np.argwhere(np.tril(~is_apart, -1)).tolist():
        one, other = cameras[i], cameras[j]
        same = np.abs(one.cam_from_world.rotation - other.cam_from_world.rotation).max() < 1e-3
        kind = "camera twice" if same else "cameras apart"
        fix = "leave one of them out" if same else "check the translations: these cameras see no depth together"
        findings.add(kind, f"{where}, camera {one.name}", f"is at the place of camera {other.name}", fix)


def _baseline(cameras: Sequence[Camera]) -> Fault | None:
    median = median_baseline(cameras)
    low, high = BASELINE_M
    if low <= median <= high or median == 0:
        return None
    unit = next((name for factor, name in _UNITS.items() if low <= median / factor <= high), None)
    what = f"the cameras are {median:.4g} m apart (median)"
    if unit:
        return Fault(f"{what}: the translations look like {unit}", "write metres, or the metres in one unit")
    return Fault(what, f"rigs are {low:g} to {high:g} m wide: check the unit")


def _common_view(cameras: Sequence[Camera]) -> Fault | None:
    share = _seen_together(cameras)
    if share == 1:
        return None
    what = f"no place is seen by more than {share:.0%} of the cameras"
    for misreading, changed in _misread(cameras):
        if _seen_together(changed) == 1:
            fix = "write cam_from_world: it takes points of the world to the camera, x right, y down, z forward"
            return Fault(f"{what}; cam_from_world looks like {misreading}", fix)
    if share < 0.5 or share * len(cameras) < 2:
        return Fault(what, "check the rotations and translations: cameras must look at the hands together")
    return None


def doubt(cameras: Sequence[Camera]) -> str | None:
    """Say what to look at where cameras look away from each other, which a headset's do on purpose."""
    if len(cameras) < 2 or _off_axis_deg(cameras) < _AWAY_DEG or _common_view(cameras) is not None:
        return None
    for misreading, changed in _misread(cameras):
        if _off_axis_deg(changed) < _TOGETHER_DEG and _seen_together(changed) == 1:
            would = f"if cam_from_world were {misreading}, they would look at one place"
            return f"the cameras look away from each other; {would}"
    return None


def _misread(cameras: Sequence[Camera]) -> Iterator[tuple[str, list[Camera]]]:
    """Read every cam_from_world as something else, by name."""
    for name, change in _MISREADINGS.items():
        yield name, [replace(camera, cam_from_world=change(camera.cam_from_world)) for camera in cameras]


def _off_axis_deg(cameras: Sequence[Camera]) -> float:
    """Measure how far, at most, a camera's axis is from the point nearest to all axes."""
    centers = np.stack([camera.center_world for camera in cameras])
    axes = np.stack([camera.cam_from_world.rotation[2] for camera in cameras])
    way = _nearest_point(centers, axes) - centers
    cosine = (way * axes).sum(1) / np.maximum(np.linalg.norm(way, axis=1), 1e-12)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))).max())


_FLIP = np.diag([1.0, -1.0, -1.0])
_MISREADINGS: dict[str, Callable[[Rigid], Rigid]] = {
    "world_from_cam": lambda rigid: rigid.inverse(),
    "its rotation transposed": lambda rigid: Rigid(rigid.rotation.T, rigid.translation),
    "one with the camera's place as its translation": lambda rigid: Rigid(
        rigid.rotation, -rigid.rotation @ rigid.translation
    ),
    "one of cameras with y up and z backwards": lambda rigid: Rigid(_FLIP @ rigid.rotation, _FLIP @ rigid.translation),
}


def _seen_together(cameras: Sequence[Camera]) -> float:
    """The largest share of the cameras that see one point: of those on the axes, on their mean, and nearest to all."""
    centers = np.stack([camera.center_world for camera in cameras])
    axes = np.stack([camera.cam_from_world.rotation[2] for camera in cameras])
    distance = max(median_baseline(cameras), 1e-9)
    ahead = axes.mean(0) / max(float(np.linalg.norm(axes.mean(0))), 1e-9)
    ways, starts = np.concatenate([axes, ahead[None]]), np.concatenate([centers, centers.mean(0)[None]])
    along = [starts + depth * distance * ways for depth in _DEPTHS]
    tried = np.concatenate([_nearest_point(centers, axes)[None], *along])
    return float(np.mean([_is_seen(camera, tried) for camera in cameras], axis=0).max())


def _is_seen(camera: Camera, points: Float[np.ndarray, "n 3"]) -> np.ndarray:
    """By the ideal camera: lenses are checked by themselves."""
    points_cam = camera.cam_from_world.apply(points)
    depth = points_cam[:, 2]
    in_front = depth > 0
    rays = points_cam @ camera.intrinsics.T
    return in_front & camera.contains(rays[:, :2] / np.where(in_front, depth, 1.0)[:, None])


def _nearest_point(centers: Float[np.ndarray, "n 3"], axes: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " 3"]:
    """The point nearest to lines, in least squares."""
    across = np.eye(3) - axes[:, :, None] * axes[:, None]
    return np.linalg.lstsq(across.sum(0), np.einsum("nij,nj->i", across, centers), rcond=None)[0]
