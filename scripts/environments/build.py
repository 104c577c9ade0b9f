"""Measure the light of photographed places: what `simulate` lights hands by, besides lights that it draws.

    python scripts/environments/build.py [--package pmndrs-assets-1.7.0.tgz]

The panoramas are the 18 HDR environments of Poly Haven (CC0, 512 x 256 px) in the npm package `@pmndrs/assets` 1.7.0, a
build-time input only (fetched with npm unless given; read with the PyPI package OpenEXR). Of each, the brightest lamp,
window or sun is taken out as a key light; the rest becomes irradiance in nine spherical harmonics (Ramamoorthi,
Hanrahan, "An efficient representation for irradiance environment maps", SIGGRAPH 2001). No picture is kept. Three suns
(park, sunrise, sunset) lost their colour in the files' compression, and these places are left out.
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
from jaxtyping import Float

from handgen.stages.simulate.environments import FILE_NAME, harmonics

PACKAGE, VERSION = "@pmndrs/assets", "1.7.0"
OUT = Path(__file__).resolve().parents[2] / "handgen" / "stages" / "simulate" / FILE_NAME
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
_REACH_RAD = np.radians(25.0)  # of the key light about its middle
_CORE = 0.25  # of its brightest parts' mean: what is brighter belongs to it
_LEAST_CHANNEL = 0.05  # of the key light's strongest one: less is no light that there is
_COSINE_LOBE = (np.pi, 2 * np.pi / 3, np.pi / 4)  # of irradiance, per degree of the harmonics


def fetch(folder: Path) -> Path:
    """Fetch the package from npm."""
    command = ["npm", "pack", f"{PACKAGE}@{VERSION}", "--pack-destination", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.glob("*.tgz"))


def panoramas(package: Path) -> dict[str, Float[np.ndarray, "rows columns 3"]]:
    """Linear light of each place, straight up in the first row."""
    found = {}
    with tarfile.open(package) as archive, tempfile.TemporaryDirectory() as folder:
        for member in archive.getmembers():
            name = re.fullmatch(r"package/hdri/(\w+)\.exr\.js", member.name)
            file = archive.extractfile(member) if name else None
            if name is None or file is None:
                continue
            encoded = re.search(rb"base64,([A-Za-z0-9+/=]+)", file.read())
            assert encoded is not None
            path = Path(folder) / "one.exr"
            path.write_bytes(base64.b64decode(encoded[1]))
            channels = OpenEXR.File(str(path)).channels()
            pixels = channels.get("RGB", channels.get("RGBA"))
            light = pixels.pixels[..., :3] if pixels else np.stack([channels[c].pixels for c in "RGB"], -1)
            found[name[1]] = light.astype(float).clip(0)
    return dict(sorted(found.items()))


def measured(light: Float[np.ndarray, "rows columns 3"]) -> dict[str, Any]:
    """Key light and harmonics, scaled so that a surface turned to the key light gets 1 in the mean over the colours."""
    rows, columns = light.shape[:2]
    polar = (np.arange(rows) + 0.5) / rows * np.pi
    azimuth = (np.arange(columns) + 0.5) / columns * 2 * np.pi
    sine = np.sin(polar)[:, None]
    up = np.cos(polar)[:, None] + 0 * azimuth
    directions = np.stack([sine * np.cos(azimuth), sine * np.sin(azimuth), up], -1)  # z up
    solid = sine * (np.pi / rows) * (2 * np.pi / columns) * np.ones((1, columns))
    brightness = (light @ _LUMINANCE) * solid
    middle = directions.reshape(-1, 3)[(light @ _LUMINANCE).argmax()]
    for _ in range(5):
        near = directions @ middle > np.cos(_REACH_RAD)
        middle = (directions * (brightness * near * (light @ _LUMINANCE))[..., None]).sum((0, 1))
        middle /= np.linalg.norm(middle)
    near = directions @ middle > np.cos(_REACH_RAD)
    level = np.sort((light @ _LUMINANCE)[near])[-max(8, near.sum() // 200) :].mean()
    core = near & (light @ _LUMINANCE > _CORE * level)
    around = np.median(light[near & ~core], axis=0) if (near & ~core).any() else np.zeros(3)
    taken = np.where(core[..., None], (light - around).clip(0), 0.0)
    weight = taken * solid[..., None]
    key = weight.sum((0, 1)) / np.pi
    spread = np.arccos((directions @ middle).clip(-1, 1))
    half_angle = np.sqrt(((spread**2)[..., None] * weight).sum() / weight.sum()) * np.sqrt(2)  # of a disc
    rest = (light - taken) * solid[..., None]
    basis = harmonics(directions.reshape(-1, 3))
    degrees = np.array([0, 1, 1, 1, 2, 2, 2, 2, 2])
    spherical = basis.T @ rest.reshape(-1, 3) * np.array(_COSINE_LOBE)[degrees][:, None] / np.pi
    scale = 1 / (key + (harmonics(middle[None]) @ spherical)[0]).mean()
    return {
        "towards_key": np.round(middle, 4).tolist(),
        "key_half_angle_rad": round(float(half_angle), 4),
        "key": np.round(key * scale, 5).tolist(),
        "harmonics": np.round(spherical * scale, 5).tolist(),
    }


def main() -> None:
    """Measure all and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package", type=Path, metavar="FILE", help="the npm package's tgz, if it is here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        places = panoramas(options.package or fetch(Path(folder)))
    found = {name: measured(light) for name, light in places.items()}
    found = {name: place for name, place in found.items() if min(place["key"]) > _LEAST_CHANNEL * max(place["key"])}
    source = f"{PACKAGE} {VERSION} (npm, CC0): HDR environments of Poly Haven, CC0; measured by {Path(__file__).name}"
    OUT.write_text(json.dumps({"source": source, "places": found}, indent=1) + "\n", encoding="utf-8")
    for name, place in found.items():
        print(name, place["towards_key"], place["key_half_angle_rad"], place["key"])


if __name__ == "__main__":
    main()
