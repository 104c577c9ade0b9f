"""How units of work run: engines, pinned numerics, resumable runs."""
