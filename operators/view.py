"""The view transform: pictures of takes are already as they shall be seen."""

from typing import TYPE_CHECKING

import bpy

from ..addon import compat

if TYPE_CHECKING:
    from bpy.stub_internal.rna_enums import OperatorReturnItems


class PARLANDO_OT_set_standard_view(bpy.types.Operator):
    """Set the scene's view transform to Standard, so that takes keep the portrait's colours"""

    bl_idname = "parlando.set_standard_view"
    bl_label = "Use Standard View"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs another one."""
        if compat.sequencer_scene(context).view_settings.view_transform == "Standard":
            cls.poll_message_set("The view transform is Standard already")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Sets it; a look of another transform goes with it."""
        view = compat.sequencer_scene(context).view_settings
        view.look = "None"
        view.view_transform = "Standard"
        return {"FINISHED"}


CLASSES = (PARLANDO_OT_set_standard_view,)
