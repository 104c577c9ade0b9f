"""Data sets in other projects' formats: a folder for each, with its layout, reader, writer and checks."""
