"""The `handgen` command."""

from handgen.source_tree import check_source_tree

check_source_tree(__name__, __file__)
