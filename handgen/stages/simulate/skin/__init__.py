"""Procedural skin of simulated hands: texture and relief maps in the open hand's texture coordinates."""
