"""The add-on preferences: environment, check, device, folders."""

from typing import TYPE_CHECKING

import bpy

from ..addon import jobs, preferences
from . import parts

if TYPE_CHECKING:
    from ..addon.preferences import ParlandoPreferences


def draw(settings: "ParlandoPreferences", layout: bpy.types.UILayout) -> None:
    """Draws them."""
    context = bpy.context
    layout.use_property_split = True
    layout.use_property_decorate = False

    row = layout.row()
    row.operator("parlando.open_sequencer", text="Begin: Open the Sequencer", icon="SEQUENCE")
    row.prop(settings, "first_steps")

    box = layout.box()
    box.label(text="Engine", icon="CONSOLE")
    python = preferences.engine_python()
    parts.text(box, context, f"Runs on {python}" if python else f"{preferences.NO_ENGINE}.")
    box.prop(settings, "engine_python")
    box.prop(settings, "device")
    row = box.row()
    row.operator("parlando.check_engine", icon="CHECKMARK")
    parts.reason(box, context, preferences.why_no_check())
    _check(box, context)

    box = layout.box()
    box.label(text="Create an Environment", icon="IMPORT")
    box.row().prop(settings, "environment_kind", expand=True)
    box.prop(settings, "wheels_folder")
    box.prop(settings, "base_python")
    row = box.row()
    row.operator("parlando.create_environment", icon="IMPORT")
    creation = jobs.creation()
    if creation is not None and creation.working:
        row.operator("parlando.cancel_environment", icon="X")
    else:
        parts.reason(box, context, preferences.why_no_creation())
    if creation is not None:
        log = box.column(align=True)
        log.scale_y = 0.75
        for line in list(creation.log)[-preferences.SHOWN_LOG_LINES :]:
            log.label(text=line)

    box = layout.box()
    box.prop(settings, "takes_folder")
    box.prop(settings, "styles_folder")


def _check(box: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """What the engine told of itself."""
    found = jobs.check_result()
    if found is None:
        if context.window_manager.parlando.stage == "asking the engine":
            box.label(text="Asking the engine …", icon="SORTTIME")
        return
    for problem in found.get("problems") or []:
        parts.text(box, context, str(problem), "ERROR")
    if found.get("healthy"):
        packages = found.get("packages") or {}
        box.label(text=f"All is well. Computes on {found.get('device')}.", icon="CHECKMARK")
        parts.text(
            box, context, f"Python {found.get('python')}, " + ", ".join(f"{k} {v}" for k, v in packages.items() if v)
        )
