"""First Steps, on top of the tab Parlando in the Sequencer and the 3D View, until somebody closes it."""

import textwrap
from typing import Any

import bpy

from ..addon import compat, first_steps, generate, jobs, preferences
from . import parts


class _FirstSteps:
    """The list, and what helps with the next step."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Until it is closed."""
        return bool(preferences.get().first_steps)

    def draw_header_preset(self, context: bpy.types.Context) -> None:
        """The cross."""
        panel: Any = self
        panel.layout.operator("parlando.close_first_steps", text="", icon="X", emboss=False)

    def draw(self, context: bpy.types.Context) -> None:
        """Draws it."""
        panel: Any = self
        draw(panel.layout, context)


def draw(layout: Any, context: bpy.types.Context) -> None:
    """The steps: a tick on what is done, what to do on the next, names only of the rest."""
    scene = compat.sequencer_scene(context)
    steps = first_steps.steps(scene)
    now = first_steps.next_step(scene)
    for index, step in enumerate(steps):
        box = layout.box() if index == now else layout.column()
        row = box.row()
        row.active = index <= now
        row.label(text=f"{index + 1}. {step.title}", icon="CHECKMARK" if step.done else "DOT")
        if index == now:
            parts.text(box, context, step.told)
            _help(box, context, index)
    if now == len(steps):
        parts.text(layout, context, "That is all. Tooltips say the rest, and the manual more.")
        layout.operator("parlando.close_first_steps", text="Close", icon="CHECKMARK")


def _help(box: Any, context: bpy.types.Context, index: int) -> None:
    """The buttons of a step."""
    if index == 0:
        creation = jobs.creation()
        if creation is not None and creation.working:
            row = box.row()
            row.label(text="It is being made …", icon="SORTTIME")
            row.operator("parlando.cancel_environment", text="", icon="X")
        else:
            box.operator("parlando.create_environment", icon="IMPORT")
            parts.reason(box, context, preferences.why_no_creation())
        if creation is not None and creation.working and len(creation.log):
            box.label(text=textwrap.shorten(creation.log[-1], 60))  # one line: the panel must not jump
        elif creation is not None and creation.state == "FAILED":
            for line in list(creation.log)[-3:]:
                parts.text(box, context, line, "ERROR")
        _preferences(box, "Choose One in the Preferences")
    elif index == 1:
        box.operator("parlando.check_engine", icon="CHECKMARK")
        found = jobs.check_result()
        if context.window_manager.parlando.stage == "asking the engine":
            box.label(text="Asking the engine …", icon="SORTTIME")
        else:
            parts.reason(box, context, preferences.why_no_check())
        for problem in (found or {}).get("problems") or []:
            parts.text(box, context, str(problem), "ERROR")
    elif index == 2:
        box.operator("parlando.open_sequencer", icon="SEQUENCE")
    elif index in (3, 4):
        if index == 3 and getattr(context.space_data, "type", "") == "SEQUENCE_EDITOR":
            box.operator("sequencer.sound_strip_add", text="Add a Sound", icon="SOUND")
        box.operator("parlando.use_example", icon="USER")
        parts.reason(box, context, first_steps.why_no_example())
    elif index == 5:
        box.operator("parlando.generate", icon="PLAY")
        parts.reason(box, context, generate.why_not_generate(compat.sequencer_scene(context)))
        parts.progress(box, context)
        if context.window_manager.parlando.outcome == "FAILED":
            parts.message(box, context)
    elif index == 6:
        box.operator("parlando.add_landmarks", icon="EMPTY_AXIS").look = True
    elif index == 7:
        box.operator("parlando.look_at_face", icon="HIDE_OFF")
        box.operator("parlando.render_edits", icon="RENDER_ANIMATION")
        parts.progress(box, context)


def _preferences(layout: Any, text: str) -> None:
    layout.operator("preferences.addon_show", text=text, icon="PREFERENCES").module = preferences.PACKAGE


class PARLANDO_PT_first_steps_sequencer(_FirstSteps, bpy.types.Panel):
    """In the Sequencer."""

    bl_idname = "PARLANDO_PT_first_steps_sequencer"
    bl_label = "First Steps"
    bl_space_type = "SEQUENCE_EDITOR"
    bl_region_type = "UI"
    bl_category = "Parlando"


class PARLANDO_PT_first_steps_view3d(_FirstSteps, bpy.types.Panel):
    """In the 3D View."""

    bl_idname = "PARLANDO_PT_first_steps_view3d"
    bl_label = "First Steps"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Parlando"


CLASSES = (PARLANDO_PT_first_steps_sequencer, PARLANDO_PT_first_steps_view3d)
