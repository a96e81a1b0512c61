"""What Blender needs to hold: preferences, properties, the engine's process and its pump, strips, landmark curves.

`operators/` and `ui_panels/` are thin and call this. `register` brings all three to Blender.
"""

import atexit

import bpy


def register() -> None:
    """Registers every class and starts listening; no process is started before it is needed."""
    from .. import operators, ui_panels
    from . import batch, engine_process, face3d, jobs, live, paths, preferences, properties, style_preview, styles

    for cls in (
        preferences.ParlandoPreferences,
        *properties.CLASSES,
        *face3d.CLASSES,
        *batch.CLASSES,
        *styles.CLASSES,
        *operators.CLASSES,
        *ui_panels.CLASSES,
    ):
        bpy.utils.register_class(cls)
    properties.register()
    face3d.register()
    batch.register()
    styles.register()
    style_preview.register()
    jobs.register(engine_process.EngineClient(preferences.launch))
    live.register()
    paths.register()
    atexit.register(jobs.stop)


def unregister() -> None:
    """The reverse; ends the engine."""
    from .. import operators, ui_panels
    from . import batch, face3d, jobs, live, paths, preferences, properties, pump, style_preview, styles

    atexit.unregister(jobs.stop)
    pump.unregister()
    paths.unregister()
    live.unregister()
    jobs.unregister()
    style_preview.unregister()
    styles.unregister()
    batch.unregister()
    face3d.unregister()
    properties.unregister()
    for cls in reversed(
        (
            preferences.ParlandoPreferences,
            *properties.CLASSES,
            *face3d.CLASSES,
            *batch.CLASSES,
            *styles.CLASSES,
            *operators.CLASSES,
            *ui_panels.CLASSES,
        )
    ):
        bpy.utils.unregister_class(cls)
