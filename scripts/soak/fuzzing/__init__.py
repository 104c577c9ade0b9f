"""Parts of scripts/soak/fuzz.py: seeds of all inputs, mutations of them, readers, and the judge of a case."""
