"""Outputs that hold links out of them, inputs that lie in outputs, and pipes where files should be."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.captures import make_capture, small_rig, write_images
from support.killed_runs import journal_entry

from handgen.cli.main import main
from handgen.errors import HandgenError
from handgen.io.calibration_files.handgen_json import save_calibration
from handgen.media.video import open_video
from handgen.stages.annotate import stage as annotate
from handgen.stages.annotate.config import AnnotateConfig
from handgen.storage import filesystem
from handgen.storage.documents import read_json
from handgen.storage.journal import JOURNAL, Journal
from handgen.storage.lock import LOCK, lock_directory
from handgen.storage.output import MANIFEST, RUN, check_apart, claim_output, prepare_output

KIND, OWNED, DEPENDS_ON = "annotations", ("chunks", "*.tar"), {"seed": 1}
SECRET = b"what must not be written over"


@pytest.fixture
def outside(tmp_path) -> Path:
    place = tmp_path / "outside.txt"
    place.write_bytes(SECRET)
    return place


@pytest.fixture
def begun(tmp_path) -> Path:
    out = tmp_path / "out"
    prepare_output(out, KIND, DEPENDS_ON, OWNED, overwrite=False)
    return out


def claim(out: Path, **options) -> None:
    with claim_output(out, KIND, DEPENDS_ON, OWNED, options.pop("overwrite", False), **options) as journal:
        journal.add(0, journal_entry(1))


def one_line(error: pytest.ExceptionInfo[HandgenError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", [LOCK, RUN, MANIFEST, "a.tar", f"{JOURNAL}/000000.jsonl", "chunks/000000.json"])
def test_a_link_out_of_the_output_is_refused_and_not_followed(name, overwrite, begun, outside):
    (begun / name).parent.mkdir(exist_ok=True)
    (begun / name).unlink(missing_ok=True)
    (begun / name).symlink_to(outside)
    with pytest.raises(HandgenError) as caught:
        claim(begun, overwrite=overwrite)
    assert "out" in one_line(caught) and outside.read_bytes() == SECRET


def test_a_link_into_itself_is_refused_and_links_of_the_users_own_are_left_alone(begun, outside):
    (begun / "mine").symlink_to(outside)
    (begun / "circle").symlink_to("circle")
    claim(begun)
    (begun / MANIFEST).unlink(missing_ok=True)
    (begun / MANIFEST).symlink_to(MANIFEST)
    with pytest.raises(HandgenError, match="or into itself"):
        claim(begun)


def test_a_second_name_of_a_file_is_no_lock(begun, outside):
    os.link(outside, begun / LOCK)
    with pytest.raises(HandgenError, match="is a link"):
        claim(begun)
    assert outside.read_bytes() == SECRET


def test_a_link_to_nothing_is_not_created(begun, tmp_path):
    for name in (LOCK, f"{JOURNAL}/000000.jsonl"):
        (begun / name).parent.mkdir(exist_ok=True)
        (begun / name).symlink_to(tmp_path / "new.txt")
        with pytest.raises(HandgenError):
            claim(begun)
        (begun / name).unlink()
    assert not (tmp_path / "new.txt").exists()
    claim(begun)


def test_a_folder_that_is_a_link_out_of_the_output_is_refused(begun, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    for name in ("chunks", JOURNAL):
        (begun / name).symlink_to(tmp_path / "elsewhere")
        with pytest.raises(HandgenError, match="link out of the directory"):
            claim(begun)
        (begun / name).unlink()
    assert not list((tmp_path / "elsewhere").iterdir())


def test_the_output_itself_may_be_a_link_and_links_inside_are_left_alone(begun, tmp_path):
    (tmp_path / "name").symlink_to(begun)
    (begun / "latest").symlink_to(begun / RUN)
    claim(tmp_path / "name")
    assert Journal(begun).entries == {0: journal_entry(1)}


@pytest.mark.parametrize("make", [lambda p: p.mkdir(), os.mkfifo, lambda p: p.symlink_to("000007.jsonl")])
def test_what_is_no_file_of_notes_is_passed_over(make, begun):
    (begun / JOURNAL).mkdir(exist_ok=True)
    make(begun / JOURNAL / "000000.jsonl")
    claim(begun)
    assert Journal(begun).entries == {0: journal_entry(1)}


@pytest.mark.parametrize("make", [lambda p: p.mkdir(), os.mkfifo, lambda p: p.symlink_to("/dev/null")])
def test_a_lock_that_is_no_file_is_an_error_in_one_line(make, begun):
    make(begun / LOCK)
    with pytest.raises(HandgenError) as caught, lock_directory(begun):
        pass
    assert LOCK in one_line(caught)


def test_what_is_written_replaces_a_link_instead_of_following_it(tmp_path, outside):
    place = tmp_path / "place.json"
    for write in (lambda: filesystem.put(place, SECRET), lambda: filesystem.put_many([(place, SECRET)])):
        place.unlink(missing_ok=True)
        place.symlink_to(outside)
        write()
        assert not place.is_symlink() and place.read_bytes() == SECRET
    place.unlink()
    place.symlink_to(outside)
    assert not filesystem.put_new(place, b"new") and outside.read_bytes() == SECRET


def test_an_input_in_what_a_run_removes_is_refused(begun, tmp_path):
    capture = begun / "chunks" / "capture"
    capture.mkdir(parents=True)
    (tmp_path / "link").symlink_to(capture)
    for place in (capture, tmp_path / "link", begun / "a.tar"):
        with pytest.raises(HandgenError, match="lies in the output"):
            claim(begun, inputs=[place], overwrite=True)
    assert capture.is_dir()
    (tmp_path / "same").symlink_to(begun)
    for place in (begun, tmp_path / "same"):
        with pytest.raises(HandgenError, match="is what the run reads"):
            check_apart(begun, OWNED, [place])
    claim(begun, inputs=[begun / "capture", tmp_path])  # a capture beside the annotations, and around them


@pytest.mark.parametrize("through_link", [False, True])
def test_an_output_in_a_folder_of_pictures_is_refused(through_link, tmp_path):
    capture = tmp_path / "capture"
    for camera in range(2):
        write_images(capture / f"cam{camera}", camera, 3)
    save_calibration(capture / "calibration.json", small_rig("cam0", "cam1"))
    folder = capture / "cam0"
    if through_link:
        folder = tmp_path / "link"
        folder.symlink_to(capture / "cam0")
    with pytest.raises(HandgenError, match="lies in a camera's folder of pictures"):
        annotate.run(capture, folder / "annotations", AnnotateConfig(metres_per_unit=1.0))
    assert len(list((capture / "cam0").iterdir())) == 3


def test_a_capture_in_an_output_that_is_overwritten_stays(tmp_path):
    """Annotations of an older run hold the capture: `--overwrite` would remove it with them."""
    out = tmp_path / "out"
    prepare_output(out, KIND, DEPENDS_ON, OWNED, overwrite=False)
    (out / "previews").mkdir()
    capture = out / "previews" / "capture"
    capture.mkdir()
    make_capture(capture)
    result = CliRunner().invoke(main, ["annotate", str(capture), "--out", str(out), "--overwrite"])
    assert result.exit_code == 1 and (capture / "cam0.mp4").is_file()


@pytest.mark.parametrize("name", [RUN, MANIFEST, "capture.json"])
def test_a_pipe_is_no_file(name, tmp_path):
    os.mkfifo(tmp_path / name)
    with pytest.raises(HandgenError, match="a pipe or a device"):
        read_json(tmp_path / name)
    for command in ("inspect", "validate", "annotate"):
        result = CliRunner().invoke(main, [command, str(tmp_path)])
        assert result.exit_code == 1, result.output
        assert isinstance(result.exception, SystemExit)


@pytest.mark.parametrize("make", [os.mkfifo, lambda p: p.mkdir(), lambda p: p.symlink_to("/dev/zero")])
def test_pipes_devices_and_folders_in_a_capture_are_named(make, tmp_path):
    for name in ("calibration.json", "capture.json", "timestamps.csv", "cam1.mp4"):
        folder = tmp_path / f"of_{name}"
        folder.mkdir()
        make_capture(folder, settings={})
        place = folder / name
        place.unlink(missing_ok=True)
        make(place)
        result = CliRunner().invoke(main, ["inspect", str(folder)])
        assert result.exit_code in (0, 1) and not result.output.count("Traceback")
        assert isinstance(result.exception, SystemExit | None)


def test_a_pipe_is_no_video_and_no_lock(tmp_path):
    os.mkfifo(tmp_path / "a.mp4")
    with pytest.raises(HandgenError, match="a pipe or a device"):
        open_video(tmp_path / "a.mp4")
    for read in (filesystem.read, filesystem.digest, lambda p: filesystem.read_range(p, 0, 4)):
        with pytest.raises(OSError, match="a pipe or a device"):
            read(tmp_path / "a.mp4")
    with pytest.raises(IsADirectoryError):
        filesystem.read(tmp_path)


def test_a_pipe_under_the_name_of_what_is_written_is_replaced(tmp_path):
    place = tmp_path / "a.json"
    os.mkfifo(place)
    filesystem.put(place, b"")
    assert place.is_file()


def test_a_calibration_that_is_a_pipe_is_named(tmp_path):
    capture = make_capture(tmp_path)
    os.mkfifo(tmp_path / "other.toml")
    result = CliRunner().invoke(main, ["annotate", str(capture), "--calibration", str(tmp_path / "other.toml")])
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
    assert "other.toml: neither a file nor a folder" in result.stderr
