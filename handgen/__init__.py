"""handgen: training sets for hand-pose estimation from calibrated multi-camera video.

    import handgen

    handgen.simulate("capture", views=4, frames=24)
    handgen.annotate("capture", "annotations")
    for hand in handgen.open_annotations("annotations"):
        print(hand.frame, hand.side, hand.keypoints_3d[0])

The names of `__all__` are public and described in docs/api.md. Each is loaded when it is first used: importing this
package does nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from handgen._api.annotations import open_annotations
    from handgen._api.stages import annotate, evaluate, export, import_dataset, simulate, synthesize, validate
    from handgen.data.dataset import load_shards
    from handgen.errors import HandgenError
    from handgen.fit.tracker import Tracker
    from handgen.geometry.camera import Camera, Rig
    from handgen.hand.model import HandModel
    from handgen.io.capture.capture import load_capture
    from handgen.runtime.reproducibility import pin as pin_numerics
    from handgen.version import __version__

__all__ = [
    "Camera",
    "HandModel",
    "HandgenError",
    "Rig",
    "Tracker",
    "__version__",
    "annotate",
    "evaluate",
    "export",
    "import_dataset",
    "load_capture",
    "load_shards",
    "open_annotations",
    "pin_numerics",
    "simulate",
    "synthesize",
    "validate",
]

# Where each public name is defined; `pin_numerics` has another name there.
_STAGES = ("annotate", "evaluate", "export", "import_dataset", "simulate", "synthesize", "validate")
_MODULES = dict.fromkeys(_STAGES, "handgen._api.stages") | {
    "Camera": "handgen.geometry.camera",
    "HandModel": "handgen.hand.model",
    "HandgenError": "handgen.errors",
    "Rig": "handgen.geometry.camera",
    "Tracker": "handgen.fit.tracker",
    "__version__": "handgen.version",
    "load_capture": "handgen.io.capture.capture",
    "load_shards": "handgen.data.dataset",
    "open_annotations": "handgen._api.annotations",
    "pin_numerics": "handgen.runtime.reproducibility",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'handgen' has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), "pin" if name == "pin_numerics" else name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
