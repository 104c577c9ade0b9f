"""Run units of work: engines, pinned numerics, resumable runs."""
