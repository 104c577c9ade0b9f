"""Fixtures of several modules of this folder."""

from support.skin_pictures import scene  # noqa: F401
