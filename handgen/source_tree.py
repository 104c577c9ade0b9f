"""Two checkouts must not mix: `handgen.cli` and `handgen.schemas` lie beside `handgen` in the repository, not in it.

With one checkout installed as editable and another first on the path, nothing looks wrong until bytes differ.
"""

from __future__ import annotations

import os

_HERE = os.path.dirname(os.path.realpath(__file__))


def check_source_tree(package: str, file: str) -> None:
    """Raise an ImportError unless `package`, of this `__init__.py`, lies in `handgen`, or beside it in a checkout."""
    folder = os.path.dirname(os.path.realpath(file))
    if os.path.dirname(folder) not in (_HERE, os.path.dirname(_HERE)):
        raise ImportError(
            f"{package} is in {folder}, but handgen in {_HERE}: two checkouts are mixed; "
            f"run `pip install -e {os.path.dirname(_HERE)}`, or take the one or the other off PYTHONPATH"
        )
