"""The shards directory: what `synthesize` writes and training, `inspect` and exporters read.

    run.json                  what decides the bytes (`handgen.storage.output`); written first, so that a rerun knows
                              whether what it finds is its own
    {split}-000000.tar        per sample KEY.jpg, KEY.json (`sample.schema.json`) and KEY.mask.png, adjacent
    manifest.json             counts and a digest per shard (`shard_manifest.schema.json`); written last

A shard appears under its name only when it is whole.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from handgen.errors import HandgenError
from handgen.hand.skeleton import SIDES
from handgen.storage import filesystem, limits
from handgen.storage.documents import dumps, loads, read_json, validate
from handgen.storage.filesystem import Location
from handgen.storage.output import MANIFEST, RUN, kind_of
from handgen.storage.tar import plain_members, write_tar

SAMPLE_SCHEMA, MANIFEST_SCHEMA = "sample", "shard_manifest"
IMAGE, LABELS, MASK = "jpg", "json", "mask.png"
KIND = "shards"
OWNED = ("*-[0-9][0-9][0-9][0-9][0-9][0-9]*.tar",)  # what a run writes besides run.json and manifest.json


@dataclass(frozen=True)
class Sample:
    """One sample as it lies in a shard: encoded image and mask, and its labels."""

    key: str
    image_jpeg: bytes
    mask_png: bytes
    document: dict[str, Any]


def shard_name(split: str, index: int) -> str:
    """`train-000017.tar`."""
    return f"{split}-{index:06d}.tar"


def write_shard(path: Location, samples: Iterable[Sample]) -> dict[str, Any]:
    """Write one shard, each sample validated; the file appears when whole. Returns the manifest's entry of it."""
    sides = dict.fromkeys(SIDES, 0)

    def members() -> Iterator[tuple[str, bytes]]:
        for sample in samples:
            text = dumps(sample.document)
            validate(orjson.loads(text), SAMPLE_SCHEMA, f"{path}, sample {sample.key}")
            sides[sample.document["side"]] += 1
            yield f"{sample.key}.{IMAGE}", sample.image_jpeg
            yield f"{sample.key}.{LABELS}", text
            yield f"{sample.key}.{MASK}", sample.mask_png

    tar = write_tar(path, members())
    return _entry(path, sides, tar.bytes, tar.sha256)


def _entry(path: Location, sides: dict[str, int], size: int, sha256: str) -> dict[str, Any]:
    return {"name": path.name, "samples": sum(sides.values()), "sides": sides, "sha256": sha256, "bytes": size}


def describe_empty_shard(path: Location) -> dict[str, Any]:
    """Describe a shard that is not written because none of its samples can be made."""
    return _entry(path, dict.fromkeys(SIDES, 0), 0, "")


def read_document(path: Location, key: str, group: dict[str, bytes]) -> dict[str, Any]:
    """The labels of a sample, validated; HandgenError when a member is missing or they do not fit."""
    where = f"{path}, sample {key}"
    for suffix in (IMAGE, LABELS, MASK):
        if suffix not in group:
            raise HandgenError(f"{where}: has no {key}.{suffix}; write the shard again")
    document = loads(group[LABELS], where)
    validate(document, SAMPLE_SCHEMA, where, group[LABELS])
    return document


def read_groups(path: Location) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Key and members by suffix of every sample of a tar, in order, streamed; HandgenError for a damaged one."""
    key, group, size = "", dict[str, bytes](), 0
    seen: set[str] = set()
    try:
        for member, tar in plain_members(path):
            folder, slash, name = member.name.rpartition("/")  # as webdataset: dots of folders are part of the key
            stem, dot, suffix = name.partition(".")
            stem = f"{folder}{slash}{stem}"
            if not dot:
                raise HandgenError(f"{path}: {member.name} has no suffix; a member is KEY.SUFFIX")
            if stem != key:
                if group:
                    yield key, group
                if stem in seen:
                    raise HandgenError(f"{path}: the members of sample {stem} are not adjacent; write the shard again")
                seen.add(stem)
                key, group, size = stem, {}, 0
            if suffix in group:  # of which some readers take the first and some the last
                raise HandgenError(f"{path}: has {member.name} twice; write the shard again")
            size += member.size
            limits.SAMPLE_MEMBERS.check(len(group) + 1, f"{path}: {stem}")
            limits.SAMPLE_BYTES.check(size, f"{path}: {stem}")
            file = tar.extractfile(member)
            assert file is not None
            group[suffix] = file.read()
    except OSError as error:
        raise HandgenError(f"{path}: cannot be read ({error.strerror or error})") from None
    except tarfile.TarError as error:
        raise HandgenError(
            f"{path}: not a readable tar ({error}); delete it and run `handgen synthesize` again"
        ) from None
    if group:
        yield key, group


def read_manifest(root: Location) -> dict[str, Any]:
    """The manifest of finished shards, validated; HandgenError unless every shard is there in its full size."""
    if filesystem.size_of(root / MANIFEST) is None:
        unfinished = f"no {MANIFEST}" if filesystem.size_of(root / RUN) is None else "an unfinished run"
        raise HandgenError(
            f"{root}: {unfinished}, so no finished shards; run `handgen synthesize ANNOTATIONS --out {root}`"
        )
    if (kind := kind_of(root)) not in (KIND, None):
        raise HandgenError(f"{root}: holds {kind}, not {KIND}; give the directory that `handgen synthesize` wrote")
    manifest = read_json(root / MANIFEST, MANIFEST_SCHEMA)
    there = filesystem.file_sizes(root)
    for shard in manifest["shards"]:
        if there.get(shard["name"]) != shard["bytes"]:
            fact = "is not of the size in the manifest" if shard["name"] in there else "is missing"
            raise HandgenError(
                f"{root / shard['name']}: the shard {fact}; run `handgen synthesize` again to write it anew"
            )
    return manifest
