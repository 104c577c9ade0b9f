"""Small files that ask for much: how each is made, and what reads it.

`python -m support.bombs FOLDER` makes and reads them all with little memory to be had, and prints as JSON what the
readers said: one that makes what a file claims, or works for ever on it, ends here and not the tests.
"""

import io
import json
import lzma
import resource
import struct
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np

MEMORY_BYTES, CPU_S = 2**30, 120  # besides what the imports take
BOMBS: dict[str, Callable[[Path], object]] = {}


def bomb(function):
    BOMBS[function.__name__] = function
    return function


def zeros_npz(path: Path, name: str, shape: tuple[int, ...], dtype: str = "<f8", claimed: int | None = None) -> Path:
    """Write an npz whose array is all zeros, without ever holding it. claimed: bytes that the zip says it has."""
    left = int(np.prod(shape)) * np.dtype(dtype).itemsize
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
            header = {"descr": dtype, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            while left:
                left -= file.write(bytes(min(left, 2**22)))
        if claimed is not None:
            archive.filelist[0].file_size = claimed
    return path


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour: int, more: bytes = b"") -> bytes:
    """Make a PNG of which the first pixels are there."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + more + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def sparse_member(name: bytes, size: int) -> bytes:
    """Make a member of GNU's sparse kind that is one hole."""
    header = bytearray(512)
    for at, field in ((0, name), (100, b"0000644\0"), (108, b"0000000\0"), (116, b"0000000\0"), (124, b"%011o\0" % 0),
                      (136, b"%011o\0" % 0), (148, b" " * 8), (156, b"S"), (257, b"ustar  \0"),
                      (386, b"%011o\0%011o\0" % (0, 0)), (483, b"%011o\0" % size)):  # fmt: skip
        header[at : at + len(field)] = field
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def tar(path: Path, members: list[tuple[str, int]], **fields) -> Path:
    with tarfile.open(path, "w") as file:
        for name, size in members:
            info = tarfile.TarInfo(name)
            info.size = size
            for field, value in fields.items():
                setattr(info, field, value)
            file.addfile(info, io.BytesIO(bytes(size)))
    return path


def groups(path: Path) -> int:
    from handgen.io.shards import read_groups

    return sum(len(members) for _, members in read_groups(path))


@bomb
def sample_of_many_members(folder):
    return groups(tar(folder / "a.tar", [(f"a.{i}", 0) for i in range(1001)]))


@bomb
def sample_of_many_bytes(folder):
    return groups(tar(folder / "a.tar", [(f"a.{i}", 50 * 2**20) for i in range(6)]))


@bomb
def sparse_members(folder):
    (folder / "a.tar").write_bytes(b"".join(sparse_member(b"a.%d" % i, 60 * 2**20) for i in range(45)) + bytes(1024))
    return groups(folder / "a.tar")


@bomb
def links_in_a_tar(folder):
    return groups(tar(folder / "a.tar", [("a.jpg", 0)], type=tarfile.LNKTYPE, linkname="b.jpg"))


@bomb
def a_tar_of_headers_alone(folder):
    header = tarfile.TarInfo("a").tobuf(tarfile.PAX_FORMAT)
    pax = bytearray(header)
    pax[156:157] = b"x"
    pax[148:156] = b" " * 8
    pax[148:156] = b"%06o\0 " % sum(pax)
    (folder / "a.tar").write_bytes(bytes(pax) * 3000)
    return groups(folder / "a.tar")


@bomb
def cutout_of_negative_size(folder):
    from handgen.io.cutouts import CutoutTar

    header = bytearray(tarfile.TarInfo("a.jpg").tobuf(tarfile.USTAR_FORMAT))
    header[124:136] = b"-0000001000\0"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (folder / "a.tar").write_bytes(header + bytes(1024))
    return CutoutTar(folder / "a.tar").cutout("a", (8, 8), (0, 512))


def keypoints(path: Path) -> object:
    from handgen.detect.keypoint_files import arrays

    return arrays.read(path, "right")


@bomb
def npz_of_zeros(folder):
    return keypoints(zeros_npz(folder / "a.npz", "keypoints_px", (1_600_000, 21, 3)))


@bomb
def npz_of_bytes_that_become_floats(folder):
    return keypoints(zeros_npz(folder / "a.npz", "keypoints_px", (2_000_000, 21, 3), "|u1"))


@bomb
def npz_that_says_it_is_small(folder):
    return keypoints(zeros_npz(folder / "a.npz", "keypoints_px", (1_600_000, 21, 3), claimed=1000))


@bomb
def npz_whose_directory_has_no_end(folder):
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\1\2", 20, 3, 20, 0, 0, 0, 0, 33, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    directory = entry * 100_000
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, len(directory), 4, 0)
    (folder / "a.npz").write_bytes(b"PK\3\4" + directory + end)
    return keypoints(folder / "a.npz")


@bomb
def npz_of_one_long_header(folder):
    length = 600_000_000
    blanks = b" " * 1_000_000
    with (
        zipfile.ZipFile(folder / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("keypoints_px.npy", "w", force_zip64=True) as stream,
    ):
        stream.write(b"\x93NUMPY\2\0" + length.to_bytes(4, "little"))
        for _ in range(length // len(blanks)):
            stream.write(blanks)
    return keypoints(folder / "a.npz")


@bomb
def npz_packed_by_lzma(folder):
    with zipfile.ZipFile(folder / "a.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("keypoints_px.npy", b"\x93NUMPY" + lzma.compress(b"x"))
    return keypoints(folder / "a.npz")


@bomb
def npy_of_objects(folder):
    np.save(folder / "a.npy", np.full((3, 21, 2), None), allow_pickle=True)
    return keypoints(folder / "a.npy")


@bomb
def hand_model_of_zeros(folder):
    from handgen.hand.model_files import hand_from_npz

    path = zeros_npz(folder / "a.npz", "v_template", (12_000_000, 3))
    return hand_from_npz(path.read_bytes(), str(path), "a", "right")


@bomb
def masks_of_zeros(folder):
    from handgen.datasets.hamer.reader import masks_of

    path = zeros_npz(folder / "a.npz", "masks", (600, 1000, 1000), "|b1")
    return masks_of(path.read_bytes(), str(path))


@bomb
def run_lengths_of_one_long_number(folder):
    from handgen.datasets.coco.reader import mask_of

    return mask_of({"size": [1000, 1000], "counts": "o" * 1_000_000}, (1000, 1000), "a.json")


@bomb
def run_lengths_that_are_endless(folder):
    from handgen.datasets.coco.reader import mask_of

    return mask_of({"size": [1000, 1000], "counts": "0" * 17_000_000}, (1000, 1000), "a.json")


def calibration(path: Path, text: str) -> object:
    from handgen.io.calibration_files.registry import load_calibration

    path.write_text(text)
    return load_calibration(path)


@bomb
def toml_key_of_many_parts(folder):
    return calibration(folder / "a.toml", "a" + ".a" * 20_000 + " = 1\n")


@bomb
def toml_table_of_many_parts(folder):
    return calibration(folder / "a.toml", "[ a" + " . a" * 20_000 + "]\n")


@bomb
def toml_key_that_hides(folder):
    key = " . ".join(['"="', "'b'", "c"] * 7_000)
    return calibration(folder / "a.toml", f"x = {{a = '''\n\" ''', {key} = 1}} # \"\n")


@bomb
def toml_lists_in_lists(folder):
    return calibration(folder / "a.toml", "a = " + "[" * 100_000)


@bomb
def json_of_empty_lists(folder):
    from handgen.storage.documents import read_json

    (folder / "a.json").write_bytes(b"[" + b"[]," * 12_000_000 + b"0]")
    return read_json(folder / "a.json")


@bomb
def json_lists_in_lists(folder):
    from handgen.storage.documents import read_json

    (folder / "a.json").write_text('{"cameras": ' + "[" * 255 + "]" * 255 + "}")
    return read_json(folder / "a.json", "capture")


@bomb
def json_calibration_of_lists_in_lists(folder):
    return calibration(folder / "a.json", '{"format_version": 1, "cameras": ' + "[" * 900 + "]" * 900 + "}")


@bomb
def openpose_lists_in_lists(folder):
    from handgen.detect.keypoint_files import openpose

    (folder / "a_000000000000_keypoints.json").write_text('{"people": ' + "[" * 900 + "]" * 900 + "}")
    return openpose.read(folder)


@bomb
def stream_of_objects_in_objects(folder):
    from handgen.storage.json_stream import list_entries

    (folder / "a.json").write_text('{"a": ' * 2000 + "1" + "}" * 2000)
    return list(list_entries(folder / "a.json", "images"))


@bomb
def stream_of_lists_in_lists(folder):
    from handgen.storage.json_stream import nested_entries

    (folder / "a.json").write_text('{"a": {"b": ' + "[" * 500 + "1" + "]" * 500 + "}}")
    return list(nested_entries(folder / "a.json"))


def picture(path: Path, data: bytes) -> object:
    from handgen.media.images import read_rgb

    path.write_bytes(data)
    return read_rgb(path)


@bomb
def picture_with_transparency(folder):
    return picture(folder / "a.png", png(10_000, 10_000, 8, 6))


@bomb
def picture_of_floats(folder):
    from PIL import Image

    data = io.BytesIO()
    Image.new("F", (8, 8)).save(data, "TIFF")
    (width, height) = (struct.pack("<HHII", tag, 4, 1, 8) for tag in (256, 257))
    large = data.getvalue()
    for tag, field in ((256, width), (257, height)):
        large = large.replace(field, struct.pack("<HHII", tag, 4, 1, 9_900))
    return picture(folder / "a.tif", large)


@bomb
def picture_of_lossless_webp(folder):
    size = 16_383
    bits = (size - 1) | (size - 1) << 14
    return picture(folder / "a.webp", b"RIFF\x20\0\0\0WEBPVP8L\x14\0\0\0\x2f" + struct.pack("<I", bits) + bytes(16))


@bomb
def jpeg_of_many_scans(folder):
    from PIL import Image

    data = io.BytesIO()
    Image.new("L", (2000, 2000)).save(data, "JPEG", progressive=True)
    whole = data.getvalue()
    last = whole[whole.rindex(b"\xff\xda") : -2]
    return picture(folder / "a.jpg", whole[:-2] + last * 600 + whole[-2:])


@bomb
def mask_of_deep_pixels(folder):
    from handgen.media.images import decode_mask

    return decode_mask(png(9_000, 9_000, 16, 6), "a.png", (9_000, 9_000))


@bomb
def picture_of_much_text(folder):
    text = chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(8_000_000), 9))
    return picture(folder / "a.png", png(8, 8, 8, 2, text * 100))


@bomb
def picture_of_a_large_profile(folder):
    profile = chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(200_000_000), 9))
    return picture(folder / "a.png", png(8, 8, 8, 2, profile))


@bomb
def video_of_large_frames(folder):
    import av

    from handgen.media.video import open_video

    with av.open(str(folder / "a.mov"), "w") as container:
        stream = container.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "rgb24"  # which the frames are not
        for frame in range(3):
            packet = av.Packet(png(12_000, 12_000, 8, 2))
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, frame, frame, Fraction(1, 25)
            container.mux(packet)
    return open_video(folder / "a.mov")


@bomb
def timestamps_of_many_rows(folder):
    from handgen.io.capture.timestamp_files import read_timestamps

    (folder / "a.csv").write_text("camera,frame,time_s\n" + "b,0,0\n" * 5_100_000)
    return read_timestamps(folder / "a.csv", {"a": "a"}, {"a": 10})


@bomb
def augmentations_in_one_another(folder):
    from handgen.stages.synthesize.augment_checks import read_entries

    (folder / "a.yaml").write_text("[" * 60_000)
    return read_entries(folder / "a.yaml")


def main(folder: Path, names: list[str]) -> None:
    import handgen.datasets.coco.reader
    import handgen.detect.keypoint_files.formats
    import handgen.media.video  # noqa: F401
    from handgen.errors import HandgenError

    taken = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()  # data and stack
    resource.setrlimit(resource.RLIMIT_DATA, (taken + MEMORY_BYTES, taken + MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    said = {}
    for name in names or BOMBS:
        place = folder / name
        place.mkdir(parents=True)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
        try:
            said[name] = f"accepted: {type(BOMBS[name](place)).__name__}"
        except HandgenError as error:
            said[name] = str(error)
        except Exception as error:
            said[name] = f"fault: {type(error).__name__}: {error}"
        print(name, resource.getrusage(resource.RUSAGE_SELF).ru_utime - before, file=sys.stderr)
    print(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
