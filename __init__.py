"""Parlando for Blender: registration only. Everything else is imported when Blender enables the extension."""


def register() -> None:
    """Called by Blender when the extension is enabled."""
    from . import addon

    addon.register()


def unregister() -> None:
    """Called by Blender when the extension is disabled, and at exit."""
    from . import addon

    addon.unregister()
