"""handgen: training sets for hand-pose estimation from calibrated multi-camera video.

The stages are commands (`handgen --help`) and functions: `handgen.stages.annotate.stage.run`,
`handgen.stages.synthesize.stage.run`. A training script imports `handgen.data.load_shards`. Importing this package
does nothing else.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("handgen")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
