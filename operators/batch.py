"""The batch: add, remove, start, cancel."""

from typing import TYPE_CHECKING

import bpy

from ..addon import batch, compat, jobs
from ..addon.problem import Problem

if TYPE_CHECKING:
    from bpy.stub_internal.rna_enums import OperatorReturnItems


class PARLANDO_OT_batch_add(bpy.types.Operator):
    """Add every selected sound strip, with portrait, style and amounts as they are set for Generate now"""

    bl_idname = "parlando.batch_add"
    bl_label = "Add Selected Sounds"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs selected sound strips."""
        reason = batch.why_no_add(compat.sequencer_scene(context))
        if reason:
            cls.poll_message_set(reason)
        return not reason

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Adds them."""
        self.report({"INFO"}, batch.add(compat.sequencer_scene(context)))
        return {"FINISHED"}


class PARLANDO_OT_batch_remove(bpy.types.Operator):
    """Take this entry off the batch. Takes that were made stay"""

    bl_idname = "parlando.batch_remove"
    bl_label = "Remove from Batch"
    bl_options = {"REGISTER", "UNDO"}

    index: bpy.props.IntProperty(
        name="Entry", description="Its place in the list; −1 is the selected one", default=-1, options={"SKIP_SAVE"}
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs entries."""
        if not len(compat.sequencer_scene(context).parlando_batch.items):
            cls.poll_message_set("The batch is empty")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Removes it."""
        scene = compat.sequencer_scene(context)
        index = self.index if self.index >= 0 else scene.parlando_batch.index
        if index >= len(scene.parlando_batch.items):
            self.report({"ERROR"}, "There is no such entry in the batch.")
            return {"CANCELLED"}
        batch.remove(scene, index)
        return {"FINISHED"}


class PARLANDO_OT_batch_start(bpy.types.Operator):
    """Make everything in the batch that is not done, one after another"""

    bl_idname = "parlando.batch_start"
    bl_label = "Start Batch"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs something that is not done."""
        reason = batch.why_no_start(compat.sequencer_scene(context))
        if reason:
            cls.poll_message_set(reason)
        return not reason

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Starts it."""
        try:
            self.report({"INFO"}, batch.start(compat.sequencer_scene(context)))
        except Problem as problem:
            jobs.tell(str(problem))
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        return {"FINISHED"}


class PARLANDO_OT_batch_cancel(bpy.types.Operator):
    """Cancel the batch, or one entry. Finished takes stay"""

    bl_idname = "parlando.batch_cancel"
    bl_label = "Cancel Batch"
    bl_options = {"REGISTER"}

    index: bpy.props.IntProperty(
        name="Entry", description="Its place in the list; −1 is all", default=-1, options={"SKIP_SAVE"}
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a batch at work."""
        if not batch.working():
            cls.poll_message_set("The batch is not at work")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Cancels it."""
        return {"FINISHED"} if batch.cancel(compat.sequencer_scene(context), self.index) else {"CANCELLED"}


CLASSES = (PARLANDO_OT_batch_add, PARLANDO_OT_batch_remove, PARLANDO_OT_batch_start, PARLANDO_OT_batch_cancel)
