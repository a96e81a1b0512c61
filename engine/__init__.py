"""The engine: audio and a portrait become landmarks and photo-real frames. No bpy anywhere in here."""

__version__ = "0.1.0"
