"""Cameras, rigid transforms, triangulation and rays; nothing here knows of hands."""
