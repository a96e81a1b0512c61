"""Tab Parlando in the 3D View's sidebar: a 3D head that speaks as the take does."""

import bpy

from ..addon import compat, face3d, head3d
from . import parts


class PARLANDO_PT_face3d(bpy.types.Panel):
    """Mesh, head and Key 3D Face."""

    bl_idname = "PARLANDO_PT_face3d"
    bl_label = "3D Face"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Parlando"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draws it."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        scene = compat.sequencer_scene(context)
        settings = scene.parlando_face
        column = layout.column()
        column.prop(settings, "mesh")
        if settings.mesh is not None:
            parts.text(column, context, f"{len(face3d.matches(settings.mesh))} of its shape keys have ARKit's names.")
        else:
            column.operator("parlando.add_head", icon="USER")
            parts.reason(column, context, head3d.why_not(scene))
        column.prop(settings, "amount")
        column = layout.column()
        column.prop(settings, "head")
        if settings.head is not None and settings.head.type == "ARMATURE":
            column.prop_search(settings, "bone", settings.head.data, "bones")
        row = column.row()
        row.enabled = settings.head is not None
        row.prop(settings, "head_amount")
        layout.operator("parlando.key_face", icon="SHAPEKEY_DATA")
        parts.reason(layout, context, face3d.why_not(scene))


CLASSES = (PARLANDO_PT_face3d,)
