"""The portrait's 68 points placed by hand."""

from typing import TYPE_CHECKING

import bpy

from ..addon import compat, jobs, look, placing
from ..addon.problem import Problem

if TYPE_CHECKING:
    from bpy.stub_internal.rna_enums import OperatorReturnItems


def why_none_placed(scene: bpy.types.Scene) -> str:
    """Why there is nothing to look at or to remove; empty when there is."""
    return "" if placing.find(scene) is not None else "No points of this portrait are placed by hand"


class PARLANDO_OT_place_points(bpy.types.Operator):
    """Put the portrait's 68 points into the scene, to be corrected: for drawings and faces that are found wrongly"""

    bl_idname = "parlando.place_points"
    bl_label = "Place Points"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a portrait and an engine."""
        reason = placing.why_not(compat.sequencer_scene(context))
        if reason:
            cls.poll_message_set(reason)
        return not reason

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Queues the job."""
        try:
            placing.place(compat.sequencer_scene(context))
        except Problem as problem:
            jobs.tell(str(problem))
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        return {"FINISHED"}


class PARLANDO_OT_edit_points(bpy.types.Operator):
    """Look at the portrait's points from the front and move them in Edit Mode"""

    bl_idname = "parlando.edit_points"
    bl_label = "Edit Points"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs placed points."""
        reason = why_none_placed(compat.sequencer_scene(context))
        if reason:
            cls.poll_message_set(reason)
        return not reason

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Turns the view and enters Edit Mode."""
        collection = placing.find(compat.sequencer_scene(context))
        assert collection is not None
        try:
            look.at_points(context, *placing.rig_points(collection))
        except Problem as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        return {"FINISHED"}


class PARLANDO_OT_remove_points(bpy.types.Operator):
    """Take the portrait's placed points away: the engine finds the face itself again"""

    bl_idname = "parlando.remove_points"
    bl_label = "Remove Points"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs placed points."""
        reason = why_none_placed(compat.sequencer_scene(context))
        if reason:
            cls.poll_message_set(reason)
        return not reason

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Removes them."""
        collection = placing.find(compat.sequencer_scene(context))
        if collection is not None:
            if context.mode != "OBJECT":
                bpy.ops.object.mode_set(mode="OBJECT")
            placing.remove(collection)
        return {"FINISHED"}


CLASSES = (PARLANDO_OT_place_points, PARLANDO_OT_edit_points, PARLANDO_OT_remove_points)
