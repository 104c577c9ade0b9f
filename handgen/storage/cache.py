"""Keep files that handgen fetches or converts for a user in a folder of the user's cache, each one whole."""

from __future__ import annotations

import os
from pathlib import Path

from handgen.errors import HandgenError


def cache_folder() -> Path:
    """Return `HANDGEN_CACHE`, or handgen's folder in the user's cache."""
    import platformdirs

    return Path(os.environ.get("HANDGEN_CACHE") or platformdirs.user_cache_dir("handgen"))


def write_cached(path: Path, data: bytes) -> None:
    """Write a file of the cache; it appears under its name only when complete."""
    from handgen.storage import filesystem

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        filesystem.put(path, data)
    except OSError as error:
        raise HandgenError(f"{path}: cannot be written ({error.strerror}); set HANDGEN_CACHE") from None
