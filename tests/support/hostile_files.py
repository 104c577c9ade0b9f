"""Every file that handgen once read wrongly, made by code: `scripts/soak/fuzz.py` reads them all before its own cases.

An entry replaces one file of a valid input (a seed of the fuzzer) and is read by one of its readers. It must be read,
or refused by a HandgenError, within the fuzzer's limits.
"""

from __future__ import annotations

import io
import json
import pickle
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from support.make_mano_pickle import Ch, Csc, Select, mano_pickle

FIFO, CIRCLE = "fifo", "circle"  # content that stands for a pipe, and for a link to itself
_ZEROS = 2**24


@dataclass(frozen=True)
class HostileFile:
    """One file. make: its content, of the seed's. reader, seed: names of the fuzzer's. file: path in the seed."""

    name: str
    reader: str
    seed: str
    file: str
    make: Callable[[bytes], bytes | str]


def _document(change: Callable[[Any], Any]) -> Callable[[bytes], bytes]:
    """Change a JSON document; None: it was changed in place."""

    def make(data: bytes) -> bytes:
        document = json.loads(data)
        changed = change(document)
        return json.dumps(document if changed is None else changed).encode()

    return make


def _put(*path: Any) -> Callable[[bytes], bytes]:
    """Put a value at a place of a JSON document; the last is the value."""
    *keys, last, value = path

    def change(document: Any) -> None:
        for key in keys:
            document = document[key]
        document[last] = value

    return _document(change)


def zeros_deflated(count: int) -> bytes:
    """Pack zeros in no time: the same block again and again."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = packer.compress(bytes(_ZEROS)) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(bytes(_ZEROS)) + packer.flush(zlib.Z_FULL_FLUSH)
    return first + again * (count // _ZEROS - 1) + packer.compress(bytes(count % _ZEROS)) + packer.flush()


def npy_header(dtype: str, shape: str, order: str = "False") -> bytes:
    """Return the head of an .npy, of any text."""
    text = f"{{'descr': {dtype}, 'fortran_order': {order}, 'shape': {shape}, }}"
    text += " " * (63 - (10 + len(text)) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def zip_of(name: str, content: bytes, size: int, method: int = 8, flags: int = 0) -> bytes:
    """Return a zip of one member that is packed already. size: as it says that it unpacks to."""
    told = (flags, method, 0, 0x21, 0, len(content), size, len(name), 0)
    local = struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 20, *told)
    central = struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\1\2", 20, 20, *told, 0, 0, 0, 0, 0)
    at = len(local) + len(name) + len(content)
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1, 1, len(central) + len(name), at, 0)
    return local + name.encode() + content + central + name.encode() + end


def npz_of_zeros(name: str) -> bytes:
    """Return a zip of one array of 2.2 GB of zeros. Its check sum is wrong, which shows at its end alone."""
    count = 131 * _ZEROS
    head = npy_header("'<f8'", f"({count // 504}, 21, 3)")
    stored = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = stored.compress(head) + stored.flush(zlib.Z_FULL_FLUSH) + zeros_deflated(count)
    return zip_of(name, body, len(head) + count)


def _in_tar(suffix: str, make: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Change the first member of a tar with a suffix."""

    def change(data: bytes) -> bytes:
        out, done = io.BytesIO(), False
        with tarfile.open(fileobj=io.BytesIO(data)) as old, tarfile.open(fileobj=out, mode="w") as new:
            for info in old:
                file = old.extractfile(info)
                content = file.read() if file else b""
                if info.name.endswith(suffix) and not done:
                    content, done = make(content), True
                info.size = len(content)
                new.addfile(info, io.BytesIO(content))
        assert done
        return out.getvalue()

    return change


def _sparse_tar(count: int) -> Callable[[bytes], bytes]:
    """Return a tar of one sample with members that are holes of 60 MB."""

    def make(_: bytes) -> bytes:
        blocks, size = b"", str(60 * 2**20)
        for number in range(count):
            headers = {"GNU.sparse.map": f"{size},0", "GNU.sparse.size": size, "GNU.sparse.numblocks": "1"}
            info = tarfile.TarInfo(f"sample.m{number}")
            extended = tarfile.TarInfo._create_pax_generic_header(headers, tarfile.XHDTYPE, "utf-8")  # type: ignore
            blocks += extended + info.tobuf(tarfile.GNU_FORMAT)
        return blocks + bytes(1024)

    return make


def _object_array(_: bytes) -> bytes:
    """Pickle an array of objects whose address is bytes of the file."""
    reconstruct = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
    dtype = b"cnumpy\ndtype\n(S'O8'\nI0\nI1\ntR(I3\nS'|'\nNNNI-1\nI-1\nI63\ntb"
    return b"(lp0\n" + reconstruct + b"(I1\n(I1\nt" + dtype + b"I00\nS'AAAAAAAA'\ntba."


def _object_scalar(_: bytes) -> bytes:
    return b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(S'O8'\nI0\nI1\ntRS'AAAAAAAA'\ntR."


def _object_list(_: bytes) -> bytes:
    """Pickle the state of an array of objects whose content is a list of five."""
    return pickle.dumps([np.array([{"a": 1}, 2, 3, 4, 5], object)], 2)


def _nested_selections(_: bytes) -> bytes:
    source: Any = Ch(np.zeros(10))
    for _number in range(100):
        source = Select(source, np.arange(10), (10,))
    return mano_pickle("right", shapedirs=source)


def _huge_selection(_: bytes) -> bytes:
    return mano_pickle("right", shapedirs=Select(Ch(np.zeros(10)), np.zeros(8_000_000, np.uint8), (8_000_000,)))


def _shared_sparse(_: bytes) -> bytes:
    one = Csc(np.eye(16, 778))
    return mano_pickle("right", **{f"more{i}": one for i in range(400)})


def _wrapping_sparse(_: bytes) -> bytes:
    sparse = Csc(np.eye(16, 778))
    sparse.state["indptr"] = np.array([0] + [2**31 - 1, -(2**31)] * 389, np.int32)
    return mano_pickle("right", J_regressor=sparse)


def png_of_zeros(width: int, height: int, depth: int, colour: int) -> Callable[[bytes], bytes]:
    """Return a PNG of black pixels."""
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour]

    def make(_: bytes) -> bytes:
        size = (1 + width * channels * depth // 8) * height
        pixels = b"\x78\xda" + zeros_deflated(-(-size // _ZEROS) * _ZEROS) + bytes(4)
        header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
        framed = (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
        )
        return b"\x89PNG\r\n\x1a\n" + b"".join(framed)

    return make


def _damaged_zip(method: int, flags: int = 0) -> Callable[[bytes], bytes]:
    head = npy_header("'<f8'", "(4, 21, 3)")
    return lambda _: zip_of("keypoints_px.npy", head + b"\xff\xfe\xfd" * 700, 2144, method, flags)


def _run_lengths(text: str) -> Callable[[bytes], bytes]:
    def change(document: Any) -> None:
        for annotation in document["annotations"]:
            annotation["segmentation"]["counts"] = text

    return _document(change)


def _npy(dtype: str, shape: str) -> Callable[[bytes], bytes]:
    return lambda data: npy_header(dtype, shape) + data[128:]


def _named(name: str) -> Callable[[bytes], bytes]:
    return _put("cameras", name, {"file": "cam0"})


def _deep(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def _nested_names(data: bytes) -> bytes:
    """Put a list that is nested 900 deep where the names of keypoints are."""
    document = json.loads(data)
    document["categories"][0]["keypoints"] = ["deep"]
    return json.dumps(document).replace('"deep"', _deep(900).decode()).encode()


_CUTOUTS = "chunks/000000.tar"
_PYD, _TAR, _COCO = ".data.pyd", "000000.tar", "annotations/train.json"
_TOML = "array.toml"
HOSTILE_FILES: tuple[HostileFile, ...] = (
    HostileFile("array of objects by address", "validate_hamer", "hamer", _TAR, _in_tar(_PYD, _object_array)),
    HostileFile("scalar object by address", "validate_hamer", "hamer", _TAR, _in_tar(_PYD, _object_scalar)),
    HostileFile("array of five objects", "validate_hamer", "hamer", _TAR, _in_tar(_PYD, _object_list)),
    HostileFile("sample of sparse members", "shards", "shards", "train-000000.tar", _sparse_tar(48)),
    HostileFile(
        "npz of 2.2 GB of zeros", "keypoints_npz", "npz", "cam0.npz", lambda _: npz_of_zeros("keypoints_px.npy")
    ),
    HostileFile("selections of selections", "mano", "mano_2", "MANO_RIGHT.pkl", _nested_selections),
    HostileFile("selection of 8 million elements", "mano", "mano_2", "MANO_RIGHT.pkl", _huge_selection),
    HostileFile("sparse matrix under 400 keys", "mano", "mano_2", "MANO_RIGHT.pkl", _shared_sparse),
    HostileFile("sparse columns that wrap around", "mano", "mano_2", "MANO_RIGHT.pkl", _wrapping_sparse),
    HostileFile("run lengths of one number", "validate_coco", "coco_runs", _COCO, _run_lengths("o" * 1_000_000)),
    HostileFile(
        "TOML key of 40 KB", "calibration_caliscope", "calibration_3", _TOML, lambda _: b"a" + b".a" * 20_000 + b"=1\n"
    ),
    HostileFile(
        "TOML table of 40 KB",
        "calibration_caliscope",
        "calibration_3",
        _TOML,
        lambda _: b"[a" + b".a" * 20_000 + b"]\n",
    ),
    HostileFile(
        "JSON of 38 million lists",
        "validate_hanco",
        "hanco",
        "meta.json",
        lambda _: b"[" + b"[]," * 38_000_000 + b"[]]",
    ),
    HostileFile(
        "JSON nested 255 deep",
        "capture",
        "capture",
        "capture.json",
        _document(lambda d: {**d, "fps": json.loads(_deep(254))}),
    ),
    HostileFile(
        "JSON nested 2,000 deep",
        "import_interhand",
        "interhand",
        "annotations/val/InterHand2.6M_val_camera.json",
        lambda _: _deep(2000),
    ),
    HostileFile("npy header that is no Python", "keypoints_npy", "npy", "cam0.npy", _npy("'<f8'", "(4, 21, 3")),
    HostileFile(
        "npy of a type with too many axes", "keypoints_npy", "npy", "cam0.npy", _npy("'<f8'", "(" + "1," * 100 + ")")
    ),
    HostileFile(
        "npy of a size beyond 64 bits",
        "keypoints_npy",
        "npy",
        "cam0.npy",
        _npy("'<f8'", "(99999999999999999999, 21, 3)"),
    ),
    HostileFile("npy of a negative size", "keypoints_npy", "npy", "cam0.npy", _npy("'<f8'", "(-1, 21, 3)")),
    HostileFile("npy of a shape that is none", "keypoints_npy", "npy", "cam0.npy", _npy("'<f8'", "None")),
    HostileFile("npy of a type that is none", "keypoints_npy", "npy", "cam0.npy", _npy("8", "(4, 21, 3)")),
    HostileFile("npz damaged, deflate", "keypoints_npz", "npz", "cam0.npz", _damaged_zip(zipfile.ZIP_DEFLATED)),
    HostileFile("npz damaged, bzip2", "keypoints_npz", "npz", "cam0.npz", _damaged_zip(zipfile.ZIP_BZIP2)),
    HostileFile("npz damaged, lzma", "keypoints_npz", "npz", "cam0.npz", _damaged_zip(zipfile.ZIP_LZMA)),
    HostileFile("npz packed by an unknown method", "keypoints_npz", "npz", "cam0.npz", _damaged_zip(99)),
    HostileFile("npz encrypted", "keypoints_npz", "npz", "cam0.npz", _damaged_zip(zipfile.ZIP_DEFLATED, 1)),
    HostileFile("npz patched", "keypoints_npz", "npz", "cam0.npz", _damaged_zip(zipfile.ZIP_DEFLATED, 32)),
    HostileFile("PNG of 100 megapixels, RGBA", "pictures_png", "png", "0.png", png_of_zeros(10_000, 10_000, 8, 6)),
    HostileFile("PNG of 100 megapixels, 16 bit", "pictures_png", "png", "0.png", png_of_zeros(10_000, 10_000, 16, 0)),
    HostileFile(
        "camera with a line break in its name", "command_inspect", "capture", "capture.json", _named("a\nError: b")
    ),
    HostileFile(
        "camera with an escape in its name", "command_validate", "capture", "capture.json", _named("\x1b[2J\x00")
    ),
    HostileFile("run.json that is a pipe", "command_inspect", "run", "run.json", lambda _: FIFO),
    HostileFile("capture.json that is a pipe", "capture", "capture", "capture.json", lambda _: FIFO),
    HostileFile("kind that is a list", "validate_annotations", "annotations", "manifest.json", _put("kind", [])),
    HostileFile(
        "rotation vector that overflows",
        "calibration_easymocap",
        "calibration_5",
        "extri.yml",
        lambda data: re.sub(rb"data: \[ [^,]+", b"data: [ -1e+308", data, count=1),
    ),
    HostileFile("calibration that is a pipe", "validate_capture", "capture", "calibration.json", lambda _: FIFO),
    HostileFile("detections that are a pipe", "detections", "run", "detections/000000.jsonl", lambda _: FIFO),
    HostileFile("names of keypoints nested deeply", "validate_coco", "coco", _COCO, _nested_names),
    HostileFile(
        "cutouts that are a link to themselves", "validate_annotations", "annotations", _CUTOUTS, lambda _: CIRCLE
    ),
    HostileFile("COCO's file that is a link to itself", "validate_coco", "coco", _COCO, lambda _: CIRCLE),
    HostileFile("PNG of one row", "pictures_png", "png", "0.png", png_of_zeros(100_000_000, 1, 16, 2)),
    HostileFile("PNG of one row, 8 bit", "pictures_png", "png", "0.png", png_of_zeros(100_000_000, 1, 8, 2)),
    HostileFile(
        "betas that are nowhere",
        "command_evaluate",
        "annotations",
        "manifest.json",
        _put("subjects", "subject_0", "betas", 2, -4e299),
    ),
    HostileFile(
        "chunk whose number is a float",
        "validate_annotations",
        "annotations",
        "manifest.json",
        _put("chunks", 0, "index", 0.0),
    ),
    HostileFile(
        "principal point in no picture",
        "calibration_caliscope",
        "calibration_3",
        _TOML,
        lambda data: re.sub(rb"(matrix = \[\s*\[\s*[^,]+,[^,]+,)[^\]]+", rb"\1 1e308", data, count=1),
    ),
    HostileFile(
        "camera at a place that no float holds",
        "validate_capture",
        "capture",
        "calibration.json",
        _put("cameras", 0, "cam_from_world", 0, 3, 10**400),
    ),
    HostileFile(
        "keypoint that 32 bit cannot hold",
        "keypoints_jsonl",
        "jsonl",
        "keypoints.jsonl",
        lambda data: re.sub(rb'("keypoints_px":\s*\[\[)[^,]+', rb"\g<1>1e300", data, count=1),
    ),
    HostileFile(
        "a million million frames per second",
        "command_evaluate",
        "annotations",
        "manifest.json",
        _put("capture", "fps", 1e300),
    ),
    HostileFile(
        "box without a pixel",
        "validate_annotations",
        "annotations",
        "chunks/000000.jsonl",
        lambda data: re.sub(rb'"box_px":\[[^]]+\]', b'"box_px":[0,0,0,0]', data),
    ),
    HostileFile(
        "cutout's camera beyond everything",
        "command_synthesize",
        "annotations",
        "chunks/000000.jsonl",
        lambda data: re.sub(rb'("cam_from_world":\[\[[^,]+,[^,]+,[^,]+,)[^]]+', rb"\g<1>1e300", data),
    ),
    HostileFile(
        "sample whose rotation is none",
        "command_export",
        "shards",
        "train-000000.tar",
        _in_tar(".json", lambda data: re.sub(rb'("cam_from_world":\[\[-?)\d', rb"\g<1>7", data)),
    ),
    HostileFile(
        "calibration of a name that no file has",
        "capture",
        "capture",
        "capture.json",
        _put("calibration", "x" * 300),
    ),
    HostileFile(
        "lists of names that do not end",
        "calibration_easymocap",
        "calibration_5",
        "intri.yml",
        lambda data: re.sub(rb"(?ms)^names:.*?(?=^\w)", b"", data) + b"names:[\n" * 50_000,
    ),
    HostileFile(
        "cutout that ends beyond 64 bits",
        "command_synthesize",
        "annotations",
        "chunks/000000.jsonl",
        lambda data: re.sub(rb'"cutout_span":\[\d+', b'"cutout_span":[9223372036854775808', data),
    ),
    HostileFile(
        "detection in a frame that no number holds",
        "keypoints_jsonl",
        "jsonl",
        "keypoints.jsonl",
        lambda data: re.sub(rb'"frame":\s*\d+', b'"frame":' + b"9" * 30, data, count=1),
    ),
)
