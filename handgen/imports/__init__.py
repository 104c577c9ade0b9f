"""Data sets of other projects -> annotations: one file per format, and the stage."""
