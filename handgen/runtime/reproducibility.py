"""Fix the processor instructions of the numerical libraries, for equal bytes on every host.

numpy, OpenBLAS, OpenCV with its IPP, torch and MKL each choose code by what the processor can do, and different code
rounds differently: in the last bit of a matrix product, in one grey level of a resized picture. `pin` has all of them
use what every x86-64 processor of the last ten years has: AVX2 and FMA, the level x86-64-v3. The libraries read these
variables once, when they are loaded, so that `pin` comes before them; processes that are started later inherit it.

Sources: numpy, "CPU build options" (NPY_DISABLE_CPU_FEATURES); OpenBLAS, README (OPENBLAS_CORETYPE); OpenCV,
"Environment variables reference" (OPENCV_CPU_DISABLE, OPENCV_IPP); PyTorch (ATEN_CPU_CAPABILITY); oneMKL, "Conditional
numerical reproducibility" (MKL_CBWR).
"""

from __future__ import annotations

import os
import platform
import sys
import zlib
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from handgen.errors import HandgenError

AS_THE_HOST = "as the host computes"
_LIBRARIES = ("numpy", "scipy", "cv2", "torch")
_ARMV8 = {"OPENBLAS_CORETYPE": "ARMV8", "ATEN_CPU_CAPABILITY": "default"}
_LEVELS = {
    "x86-64-v3": {
        # The first are numpy's names before 2.4; it passes over those that it does not know.
        "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL X86_V4 AVX512_ICL AVX512_SPR",
        "OPENBLAS_CORETYPE": "Haswell",
        "OPENCV_CPU_DISABLE": "AVX512-SKX",
        "OPENCV_IPP": "avx2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_CBWR": "AVX2",
    },
    "armv8": _ARMV8,
    "armv8-macos": _ARMV8,  # another level: numpy and torch multiply matrices by Apple's Accelerate there
}
OPENCV = ("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python")
_MARK = "HANDGEN_NUMERICS"  # set once the variables are, for processes started from here


def pin() -> bool:
    """Fix the level for this process and those that it starts; False where a library is loaded or the host too old."""
    if _MARK in os.environ:
        return True
    level = _level_of_host()
    if level is None or any(name in sys.modules for name in _LIBRARIES):
        return False
    os.environ.update(_LEVELS[level])
    os.environ[_MARK] = level
    return True


def environment() -> dict[str, str]:
    """Environment variables that let a process elsewhere compute as this one; empty where nothing is pinned."""
    level = os.environ.get(_MARK)
    return {} if level is None else _LEVELS[level] | {_MARK: level}


def fingerprint(packages: Sequence[str]) -> dict[str, Any]:
    """Describe what of this computer decides bytes: level, and versions of `packages` (opencv: of any distribution)."""
    versions = {name: _version(*(OPENCV if name == "opencv" else (name,))) for name in packages}
    return {"level": level(), "packages": versions | {"zlib": zlib.ZLIB_RUNTIME_VERSION}}


def _version(*names: str) -> str | None:
    for name in names:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def check_host() -> None:
    """Raise a HandgenError where this computer's processor cannot do what the level asks for."""
    if level() not in (AS_THE_HOST, _level_of_host()):
        raise HandgenError(
            f"{platform.node()}: its processor ({platform.machine()}) has not what {level()} asks for: its bytes would "
            "differ; leave it out of the cluster"
        )


def level() -> str:
    """Return how this process computes: the pinned level, or "as the host computes"."""
    return os.environ.get(_MARK, AS_THE_HOST)


@cache
def _level_of_host() -> str | None:
    if platform.machine() in ("aarch64", "arm64"):
        return "armv8-macos" if sys.platform == "darwin" else "armv8"
    if platform.machine() not in ("x86_64", "AMD64"):
        return None
    try:
        flags = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags"))
    except (OSError, StopIteration):
        return None
    return "x86-64-v3" if {"avx2", "fma", "bmi2", "f16c"} <= set(flags.split()) else None
