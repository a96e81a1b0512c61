"""Under Landmarks in the 3D View's sidebar: the animator's tools."""

import bpy

from ..addon import compat
from ..operators import animate as verbs
from . import parts


class PARLANDO_PT_handles(bpy.types.Panel):
    """Handles above the landmarks."""

    bl_idname = "PARLANDO_PT_handles"
    bl_label = "Handles"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Parlando"

    def draw(self, context: bpy.types.Context) -> None:
        """Draws it."""
        layout = self.layout
        scene = compat.sequencer_scene(context)
        layout.operator("parlando.add_handles", icon="CUBE")
        layout.operator("parlando.rest_handles", icon="LOOP_BACK")
        parts.reason(layout, context, verbs.why_no_handles(scene) if verbs.why_no_rest(scene) else "")


CLASSES = (PARLANDO_PT_handles,)
