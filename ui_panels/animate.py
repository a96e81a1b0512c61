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


class PARLANDO_PT_touch(bpy.types.Panel):
    """Tools on the animator's layer."""

    bl_idname = "PARLANDO_PT_touch"
    bl_label = "Touch Up"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Parlando"

    def draw(self, context: bpy.types.Context) -> None:
        """Draws it."""
        layout = self.layout
        scene = compat.sequencer_scene(context)
        region = scene.parlando.region
        none = verbs.why_no_touch(scene)
        unchosen = "" if none else verbs.why_none_chosen(scene, region)
        layout.prop(scene.parlando, "region", text="")
        parts.reason(layout, context, unchosen)
        column = layout.column(align=True)
        column.enabled = not unchosen
        parts.text(column, context, verbs.frames_told(scene), "TIME")
        column.operator("parlando.smooth_motion", icon="MOD_SMOOTH").region = region
        row = column.row(align=True)
        for label, amount in (("Amplify", 1.3), ("Quiet", 0.5)):
            button = row.operator("parlando.amplify_motion", text=label)
            button.region, button.amount = region, amount
        column.operator("parlando.mirror_motion", icon="MOD_MIRROR").region = region
        column = layout.column(align=True)
        column.enabled = not unchosen
        row = column.row(align=True)
        row.prop(scene.parlando_styles, "style", text="")
        row.operator("parlando.blend_style", text="Blend", icon="MOD_TIME").region = region
        if not none:
            parts.reason(layout, context, verbs.why_no_blend(scene))
        row = layout.row(align=True)
        row.operator("parlando.copy_shape", icon="COPYDOWN")
        part = row.row(align=True)
        part.enabled = not unchosen
        part.operator("parlando.paste_shape", icon="PASTEDOWN").region = region
        parts.reason(layout, context, none or verbs.why_no_paste(scene))


CLASSES = (PARLANDO_PT_handles, PARLANDO_PT_touch)
