"""Annotations and backgrounds -> composited training samples, in shards: `handgen.synthesize.stage.run`."""
