"""A fault that may pass (a disk or a network that fails) ends a run; only what is damaged is replaced or left out.

Otherwise the same command would give other bytes on a bad day.
"""

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from support.annotations import write_annotations

from handgen.errors import HandgenError
from handgen.io.annotations import Annotations
from handgen.io.cutouts import DamagedCutout
from handgen.media import images
from handgen.media.images import DamagedPicture
from handgen.stages.synthesize import stage
from handgen.stages.synthesize.backgrounds import scan_folder
from handgen.stages.synthesize.config import SynthesizeConfig
from handgen.storage import filesystem, retry
from handgen.storage.filesystem import location

PASSING = [errno.EIO, errno.EMFILE, errno.ESTALE, errno.ETIMEDOUT, errno.ENOMEM]


@pytest.fixture
def pictures(tmp_path, rng):
    folder = tmp_path / "pictures"
    for i in range(6):
        images.write_png(folder / f"{i}.png", rng.integers(0, 255, (80, 90 + i, 3), dtype=np.uint8))
    (folder / "broken.jpg").write_bytes(b"no picture")
    (folder / "sub").mkdir()
    shutil.copy(folder / "0.png", folder / "sub" / "small.png")
    images.write_png(folder / "sub" / "tiny.png", np.zeros((8, 8, 3), np.uint8))
    return folder


@pytest.fixture
def store():
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    return location("memory://bucket/in")


def sent(folder, place):
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            filesystem.put(place / file.relative_to(folder).as_posix(), file.read_bytes())
    return place


def failing_open(monkeypatch, name, number):
    """Files called `name` cannot be opened."""
    opened = filesystem.regular_file

    def fails(path, flags):
        if Path(path).name == name:
            raise OSError(number, os.strerror(number), str(path))
        return opened(path, flags)

    monkeypatch.setattr(filesystem, "regular_file", fails)


# --- backgrounds


@pytest.mark.parametrize("number", PASSING)
def test_a_scan_does_not_skip_what_may_be_readable(pictures, monkeypatch, number):
    failing_open(monkeypatch, "3.png", number)
    with pytest.raises(HandgenError, match="3.png: cannot be read") as caught:
        scan_folder(pictures, 100, 0)
    assert not isinstance(caught.value, DamagedPicture)


@pytest.mark.parametrize("number", [*PASSING, errno.EACCES])
def test_a_background_is_not_replaced_for_a_fault_that_may_pass(pictures, monkeypatch, rng, number):
    backgrounds = scan_folder(pictures, 100, 0).backgrounds
    pick = 2
    shown = backgrounds.draw(pick, 32, np.random.default_rng(0))
    backgrounds._state.pictures.clear()
    failing_open(monkeypatch, Path(shown.name).name, number)
    for _ in range(2):  # nor is it remembered
        with pytest.raises(HandgenError, match="cannot be read"):
            backgrounds.draw(pick, 32, np.random.default_rng(0))
    monkeypatch.undo()
    again = backgrounds.draw(pick, 32, np.random.default_rng(0))
    assert again.name == shown.name and (again.image == shown.image).all()


def test_a_background_that_is_gone_is_replaced(pictures, rng):
    backgrounds = scan_folder(pictures, 100, 0).backgrounds
    shown = backgrounds.draw(2, 32, np.random.default_rng(0))
    backgrounds._state.pictures.clear()
    (pictures / shown.name).unlink()
    assert backgrounds.draw(2, 32, np.random.default_rng(0)).problems[0][0] == shown.name


def test_want_of_memory_is_no_damage(pictures, monkeypatch):
    def hungry(*_):
        raise MemoryError

    monkeypatch.setattr(images, "_rgb", hungry)
    with pytest.raises(HandgenError, match="not enough memory to decode it; use fewer --workers") as caught:
        images.read_rgb(pictures / "0.png")
    assert not isinstance(caught.value, DamagedPicture)


def test_backgrounds_in_a_store_are_those_on_a_disk(pictures, store):
    sent(pictures, store / "pictures")
    filesystem.put(store / "pictures" / ".hidden" / "x.png", b"x")
    for wanted in (3, 100):
        here, there = scan_folder(pictures, wanted, 0), scan_folder(store / "pictures", wanted, 0)
        assert there.backgrounds.names == here.backgrounds.names
        assert (there.digest, there.skipped) == (here.digest, here.skipped)
        for pick in range(len(here.backgrounds.names)):
            ours, theirs = (b.backgrounds.draw(pick, 40, np.random.default_rng(pick)) for b in (here, there))
            assert ours.name == theirs.name and (ours.image == theirs.image).all()
    assert dict(here.skipped).keys() == {"broken.jpg", "sub/tiny.png"}


def test_a_store_that_fails_ends_the_scan(pictures, store, monkeypatch):
    sent(pictures, store / "pictures")
    monkeypatch.setattr(retry, "RETRY_DEADLINE_S", 0.01)
    cat_file = store.fs.cat_file

    def fails(path, *args, **options):
        if path.endswith("3.png"):
            raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
        return cat_file(path, *args, **options)

    monkeypatch.setattr(store.fs, "cat_file", fails)
    with pytest.raises(HandgenError, match="memory://bucket/in/pictures/3.png: cannot be read .Connection reset"):
        scan_folder(store / "pictures", 100, 0)


def test_headers_are_read_without_the_rest(store, rng, monkeypatch):
    """Only the beginning of large pictures in a store is fetched, once enough were decoded."""
    large = images.encode_jpeg(rng.integers(0, 255, (900, 900, 3), dtype=np.uint8), 95)
    for i in range(50):
        filesystem.put(store / f"{i:02d}.jpg", large)
    fetched, cat_file = [], store.fs.cat_file

    def counted(path, start=None, end=None):
        data = cat_file(path, start=start, end=end)
        fetched.append(len(data))
        return data

    monkeypatch.setattr(store.fs, "cat_file", counted)
    assert len(scan_folder(store, 50, 0).backgrounds.names) == 50
    assert sum(size == len(large) for size in fetched) == 32 and sum(fetched) < 33 * len(large) + 50 * 2**16


@pytest.mark.parametrize(("name", "content"), [("a.jpg", b""), ("a.jpg", b"no picture"), ("a.png", b"\x89PNG\r\n")])
def test_a_damaged_picture_in_a_store_is_damaged(store, name, content):
    filesystem.put(store / name, content)
    for read in (images.read_rgb, images.picture_size):
        with pytest.raises(DamagedPicture, match=f"memory://bucket/in/{name}: not a readable image"):
            read(store / name)
        with pytest.raises(DamagedPicture, match="cannot be read"):
            read(store / "none.jpg")


# --- cutouts


@pytest.fixture(scope="module")
def annotations(tmp_path_factory):
    return write_annotations(tmp_path_factory.mktemp("faults") / "annotations", frames=2, cameras=2)


def first_view(opened):
    (record, *_) = opened.records(0)
    return record.views[0]


def test_cutouts_in_a_store_are_those_on_a_disk(annotations, store):
    sent(annotations, store / "annotations")
    here, there = Annotations(annotations), Annotations(store / "annotations")
    view = first_view(here)
    for fetched in (False, True):
        if fetched:
            there.fetch([(0, view.cutout_span)])
        ours, theirs = here.cutout(0, view), there.cutout(0, view)
        assert (ours.image == theirs.image).all() and (ours.mask == theirs.mask).all()
    without_span = there.named_cutout(0, view.cutout, view.camera.size_px)  # as records of earlier versions are
    assert (without_span.image == ours.image).all()


@pytest.mark.parametrize("number", PASSING)
def test_a_cutout_is_not_left_out_for_a_fault_that_may_pass(annotations, store, monkeypatch, number):
    sent(annotations, store / "annotations")
    monkeypatch.setattr(retry, "RETRY_DEADLINE_S", 0.01)
    here, there = Annotations(annotations), Annotations(store / "annotations")
    view = first_view(here)
    failing_open(monkeypatch, "000000.tar", number)

    def fails(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(store.fs, "cat_file", fails)
    monkeypatch.setattr(store.fs, "cat_ranges", lambda paths, *_, **__: [ConnectionError()] * len(paths))
    there.fetch([(0, view.cutout_span)])
    for opened in (here, there):
        with pytest.raises(HandgenError, match="cannot be read") as caught:
            opened.cutout(0, view)
        assert not isinstance(caught.value, DamagedCutout)


@pytest.mark.parametrize("damage", ["cut off", "zeroed", "gone"])
def test_damage_is_the_same_in_a_store(annotations, store, tmp_path, damage):
    shutil.copytree(annotations, tmp_path / "annotations")
    tar = tmp_path / "annotations" / "chunks" / "000000.tar"
    data = tar.read_bytes()
    if damage == "gone":
        tar.unlink()
    else:
        tar.write_bytes(data[:700] if damage == "cut off" else bytes(len(data)))
    sent(tmp_path / "annotations", store / "annotations")
    for root in (tmp_path / "annotations", store / "annotations"):
        opened = Annotations(root)
        for record in opened.records(0):
            with pytest.raises(DamagedCutout):
                opened.cutout(0, record.views[-1])


def test_a_run_in_a_store_that_fails_ends_as_an_error_and_goes_on(annotations, pictures, store, tmp_path, monkeypatch):
    """Shards have the bytes that they have on a disk, with the network failing for good in the middle."""
    sent(annotations, store / "annotations")
    sent(pictures, store / "pictures")
    config = SynthesizeConfig(samples=12, size=48, samples_per_shard=4, workers=1)
    stage.run(annotations, tmp_path / "shards", pictures, config)
    put_file, sent_files = store.fs.put_file, []

    def fails(local, path, **options):
        sent_files.append(path)
        if len(sent_files) > 1:
            raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
        return put_file(local, path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(retry, "RETRY_DEADLINE_S", 0.01)
        patch.setattr(store.fs, "put_file", fails)
        with pytest.raises(
            HandgenError, match="train-000001.tar: Connection reset .* run again when the store answers"
        ):
            stage.run(store / "annotations", store / "shards", store / "pictures", config)
    assert (
        "manifest.json" not in filesystem.file_sizes(store / "shards")
        and len(filesystem.file_sizes(store / "shards")) == 2
    )
    report = stage.run(store / "annotations", store / "shards", store / "pictures", config)
    assert report.written_samples == 8
    for file in (tmp_path / "shards").glob("*.tar"):
        assert filesystem.read(store / "shards" / file.name) == file.read_bytes()
