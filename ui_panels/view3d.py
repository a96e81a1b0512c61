"""Tab Parlando in the 3D View's sidebar: landmarks of the shown take and Render Edits."""

import bpy

from ..addon import compat, live, strips, takes
from ..operators import animate
from ..operators import landmarks as verbs
from . import parts


class PARLANDO_PT_landmarks(bpy.types.Panel):
    """Landmarks and their rendering."""

    bl_idname = "PARLANDO_PT_landmarks"
    bl_label = "Landmarks"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Parlando"

    def draw(self, context: bpy.types.Context) -> None:
        """Draws it."""
        layout = self.layout
        scene = compat.sequencer_scene(context)
        take = takes.shown(scene, strips.sound_in_use(scene))
        layout.label(text=take.name if take is not None else "No take", icon="SEQUENCE")
        if take is not None and take.note:
            parts.text(layout, context, f"{take.note}.")
        row = layout.row(align=True)
        row.operator("parlando.add_landmarks", icon="EMPTY_AXIS")
        row.operator("parlando.look_at_face", text="", icon="HIDE_OFF")
        parts.reason(layout, context, verbs.why_no_take(scene))
        layout.prop(scene.parlando, "live")
        if scene.parlando.live:
            parts.reason(layout, context, live.message())
        if not animate.why_nothing_moved(scene):
            layout.operator("parlando.key_moved", icon="KEY_HLT")
        row = layout.row()
        row.scale_y = 1.4
        row.operator("parlando.render_edits", icon="RENDER_ANIMATION")
        if not verbs.why_no_take(scene):
            parts.reason(layout, context, verbs.why_no_render(scene))
        parts.progress(layout, context)
        parts.message(layout, context)


CLASSES = (PARLANDO_PT_landmarks,)
