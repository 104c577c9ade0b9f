"""Do labels mean what they say: checks on labelled pictures, whatever format these came in."""
