"""JSON Schemas (2020-12): the only definition of each file that handgen reads or writes."""
