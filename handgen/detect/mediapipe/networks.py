"""Keep the two MediaPipe keypoint networks (Apache-2.0) in the user's cache, and fetch them.

handgen neither ships them nor depends on the `mediapipe` package, whose version 0.10.21 is the last to carry
them: `fetch` takes them out of that version's wheel, or out of a file that the user has.
"""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
import tempfile
import zipfile
import zlib
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import IO

from handgen.detect.mediapipe.litert import Network, Shape
from handgen.errors import HandgenError, explain_unreadable
from handgen.storage import filesystem, limits
from handgen.storage.limits import Share
from handgen.storage.local_copies import cache_folder, write_cached
from handgen.storage.numpy_files import BOUNDED_PACKINGS, open_zip

_log = logging.getLogger(__name__)

WHEEL_REQUIREMENT = "mediapipe==0.10.21"
WHEEL_TAGS = ("3.11", "cp", "cp311", "manylinux_2_28_x86_64")  # Python, implementation, ABI, platform
WHEEL_SHA256 = "05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3"


@dataclass(frozen=True)
class NetworkFile:
    """One of the two networks as handgen was tested with it.

    name: of the file in the cache. wheel_member: its path in the wheel. task_member: its name in a `.task`
    bundle. input_shape, output_shapes: of its float32 tensors, outputs in the order of their names.
    """

    name: str
    sha256: str
    wheel_member: str
    task_member: str
    input_shape: Shape
    output_shapes: tuple[Shape, ...]


PALM = NetworkFile(
    name="palm_detection_full.tflite",
    sha256="1b14e9422c6ad006cde6581a46c8b90dd573c07ab7f3934b5589e7cea3f89a54",
    wheel_member="mediapipe/modules/palm_detection/palm_detection_full.tflite",
    task_member="hand_detector.tflite",
    input_shape=(1, 192, 192, 3),
    output_shapes=((1, 2016, 18), (1, 2016, 1)),  # box and keypoints per anchor, score per anchor
)
LANDMARKS = NetworkFile(
    name="hand_landmark_full.tflite",
    sha256="11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3",
    wheel_member="mediapipe/modules/hand_landmark/hand_landmark_full.tflite",
    task_member="hand_landmarks_detector.tflite",
    input_shape=(1, 224, 224, 3),
    output_shapes=((1, 63), (1, 1), (1, 1), (1, 63)),  # landmarks in px, presence, handedness, landmarks in metres
)
NETWORKS = {network.name: network for network in (PALM, LANDMARKS)}


@dataclass(frozen=True)
class InstalledNetwork:
    """A network in the cache. pinned: its SHA-256 is the tested one. written: by this call, not there already."""

    name: str
    path: Path
    size_bytes: int
    pinned: bool
    written: bool = field(default=False, compare=False)


def locate(name: str) -> Path:
    """Return the file of the network called `name` (of `NETWORKS`); HandgenError if it has not been fetched."""
    path = cache_folder() / NETWORKS[name].name
    if not path.is_file():
        raise HandgenError(
            f"{path}: not found; run `handgen models fetch` (it downloads {WHEEL_REQUIREMENT}, 36 MB, by "
            "pip) or `handgen models fetch --from FILE`"
        )
    return path


def installed() -> list[InstalledNetwork]:
    """Return the networks that are in the cache."""
    found = []
    for network in NETWORKS.values():
        path = cache_folder() / network.name
        if path.is_file():
            data = filesystem.read(path)
            pinned = hashlib.sha256(data).hexdigest() == network.sha256
            found.append(InstalledNetwork(network.name, path, len(data), pinned))
    return found


def fetch(source: Path | None = None, force: bool = False) -> list[InstalledNetwork]:
    """Put both networks into the cache.

    source: a mediapipe wheel, a `.task` bundle, or a folder that holds the two files; without it the pinned
    wheel is downloaded by pip, unless both pinned files are there already. force: download it anyway. Files other
    than the pinned ones are taken if their inputs and outputs fit, with a warning. Raises HandgenError when one is
    missing or wrong; then nothing is written.
    """
    if source is None and not force:
        there = installed()
        if len(there) == len(NETWORKS) and all(network.pinned for network in there):
            return there
    if source is None:
        with tempfile.TemporaryDirectory(prefix="handgen-models-") as folder:
            wheel = _download(Path(folder))
            _check_wheel(wheel)
            contents = {network: _read_member(wheel, network) for network in NETWORKS.values()}
    else:
        read = _read_from_folder if source.is_dir() else _read_member
        contents = {network: read(source, network) for network in NETWORKS.values()}
    pinned = {network: _check(network, data, str(source)) for network, data in contents.items()}
    written = []
    for network, data in contents.items():
        path = cache_folder() / network.name
        write_cached(path, data)
        written.append(InstalledNetwork(network.name, path, len(data), pinned[network], written=True))
    return written


def _download(folder: Path) -> Path:
    """Download the pinned wheel into `folder` by pip from the user's package index."""
    python, implementation, abi, platform = WHEEL_TAGS
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--python-version", python, "--implementation", implementation]
    command += ["--abi", abi, "--platform", platform, WHEEL_REQUIREMENT, "-d", str(folder)]
    _log.info("downloading %s (36 MB)", WHEEL_REQUIREMENT)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise HandgenError(
            f"pip could not download {WHEEL_REQUIREMENT}: {lines[-1] if lines else 'no message'}; "
            "get its wheel (or MediaPipe's hand_landmarker.task) yourself and run "
            "`handgen models fetch --from FILE`"
        )
    return wheels[0]


def _check_wheel(wheel: Path) -> None:
    with wheel.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != WHEEL_SHA256:
        raise HandgenError(
            f"{wheel.name}: SHA-256 {digest}, expected {WHEEL_SHA256}; the package index gave another file, "
            "so it was not used. Get the wheel elsewhere and run `handgen models fetch --from FILE`"
        )


def _read_from_folder(folder: Path, network: NetworkFile) -> bytes:
    for path in (folder / name for name in (network.name, network.task_member, network.wheel_member)):
        if path.is_file():
            with filesystem.open_read(path) as stream:
                return _read_bounded(stream, path, limits.NETWORK)
    raise HandgenError(f"{folder}: holds neither {network.name} nor {network.task_member}")


def _read_member(bundle: Path, network: NetworkFile) -> bytes:
    """Return the network out of a wheel or a `.task` bundle."""
    try:
        with explain_unreadable(bundle):
            data = _search_zip(bundle, network, bundle)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError) as error:
        raise HandgenError(
            f"{bundle}: cannot be read as a wheel or a .task bundle ({error}); is the file truncated?"
        ) from None
    if data is None:
        raise HandgenError(
            f"{bundle}: holds neither {network.wheel_member} nor {network.task_member}; give the wheel of "
            f"{WHEEL_REQUIREMENT} (later ones carry no networks) or MediaPipe's hand_landmarker.task"
        )
    return data


def _search_zip(source: Path | BytesIO, network: NetworkFile, bundle: Path, depth: int = 0) -> bytes | None:
    """Return the network's bytes or None, also from a `.task` in a `.task` (as in gesture_recognizer.task)."""
    opened = source.open("rb") if isinstance(source, Path) else source
    with opened as file, open_zip(file, str(bundle)) as archive:
        members = archive.infolist()
        for member in members:
            if member.compress_type not in BOUNDED_PACKINGS:
                raise HandgenError(f"{bundle}: {member.filename}: packed in a way that no wheel or .task bundle is")
            name = member.filename
            if name == network.wheel_member or name.rsplit("/", 1)[-1] in (network.name, network.task_member):
                with archive.open(member) as stream:
                    return _read_bounded(stream, bundle, limits.NETWORK)
        for member in members if depth == 0 else ():
            if member.filename.endswith(".task"):
                with archive.open(member) as stream:
                    inner = BytesIO(_read_bounded(stream, bundle, limits.BUNDLE))
                data = _search_zip(inner, network, bundle, depth + 1)
                if data is not None:
                    return data
    return None


def _read_bounded(stream: IO[bytes], where: Path, share: Share) -> bytes:
    """Return no more bytes than the share, however large the archive says a member is."""
    data = stream.read(share.allowed + 1)
    share.check(len(data), f"{where}: a file in it")
    return data


def _check(network: NetworkFile, data: bytes, source: str) -> bool:
    """Tell whether `data` is the pinned file; HandgenError if the network is another one."""
    digest = hashlib.sha256(data).hexdigest()
    if digest == network.sha256:
        return True
    with tempfile.TemporaryDirectory(prefix="handgen-models-") as folder:
        path = Path(folder) / network.name
        path.write_bytes(data)
        try:
            Network(path, network.input_shape, network.output_shapes)
        except HandgenError as error:
            reason = str(error).replace(str(path), network.name)
            raise HandgenError(f"{source}: SHA-256 {digest} is not the pinned one, and {reason}") from None
    said = "%s: %s has SHA-256 %s, not the pinned %s; its inputs and outputs fit, so it was taken"
    _log.warning(said, source, network.name, digest, network.sha256)
    return False
