"""The version of this package, apart from it: what writes it into files need not import all that `handgen` names."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("handgen")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
