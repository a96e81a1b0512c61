"""Tab Parlando in the Sequencer's sidebar: the sounds of the strip as marks."""

import bpy

from ..addon import compat, marks
from . import parts


class PARLANDO_PT_marks(bpy.types.Panel):
    """Marks where each sound begins."""

    bl_idname = "PARLANDO_PT_marks"
    bl_label = "Sounds"
    bl_space_type = "SEQUENCE_EDITOR"
    bl_region_type = "UI"
    bl_category = "Parlando"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draws it."""
        layout = self.layout
        scene = compat.sequencer_scene(context)
        layout.operator("parlando.mark_sounds", icon="MARKER_HLT")
        layout.operator("parlando.clear_marks", icon="X")
        parts.reason(layout, context, marks.why_not(scene) or marks.why_no_clear(scene))
        parts.progress(layout, context)


CLASSES = (PARLANDO_PT_marks,)
