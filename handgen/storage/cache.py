"""Keep files that handgen fetches or converts for a user in a folder of the user's cache, each one whole."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from handgen.errors import HandgenError


def cache_folder() -> Path:
    """Return `HANDGEN_CACHE`, or handgen's folder in the user's cache."""
    import platformdirs

    return Path(os.environ.get("HANDGEN_CACHE") or platformdirs.user_cache_dir("handgen"))


def write_cached(path: Path, data: bytes) -> None:
    """Write a file of the cache; it appears under its name only when complete."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, partial = tempfile.mkstemp(prefix=path.name, suffix=".partial", dir=path.parent)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
        os.replace(partial, path)
    except OSError as error:
        raise HandgenError(f"{path}: cannot be written ({error.strerror}); set HANDGEN_CACHE") from None
