"""JSON Schemas (2020-12): the only definition of each file that handgen reads or writes."""

from handgen.source_tree import check_source_tree

check_source_tree(__name__, __file__)
