"""The version of this package; a module of its own, so that what writes it into files need not import all of `handgen`."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("handgen")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
