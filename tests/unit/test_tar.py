import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handgen.storage.tar import plain_members, write_tar

NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789_-.", min_size=1, max_size=99)


def by_the_library(members) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o644
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@given(st.lists(st.tuples(NAMES, st.binary(max_size=1500)), max_size=30))
def test_bytes_are_those_of_the_standard_library(tmp_path_factory, members):
    path = tmp_path_factory.mktemp("tar") / "x.tar"
    assert write_tar(path, members).bytes == path.stat().st_size
    assert path.read_bytes() == by_the_library(members)


def test_global_headers_are_not_kept(tmp_path):
    """Every member would be given all of their keys: thousands times thousands. `git archive` writes one."""
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "b"}) as tar:
        for name in "abc":
            tar.addfile(tarfile.TarInfo(f"{name}.json"))
    found = [(member.name, dict(tar.pax_headers)) for member, tar in plain_members(tmp_path / "a.tar")]
    assert found == [(f"{name}.json", {}) for name in "abc"]


@pytest.mark.parametrize("name", ["a" * 100, "folder/" * 20 + "file.jpg", "näme.jpg"])
def test_names_that_need_more_than_the_usual_header(tmp_path, name):
    write_tar(tmp_path / "x.tar", [(name, b"content"), ("b", b"")])
    assert (tmp_path / "x.tar").read_bytes() == by_the_library([(name, b"content"), ("b", b"")])
