"""What the panel First Steps offers."""

from typing import TYPE_CHECKING

import bpy

from ..addon import compat, first_steps
from ..addon.problem import Problem

if TYPE_CHECKING:
    from bpy.stub_internal.rna_enums import OperatorReturnItems


class PARLANDO_OT_open_sequencer(bpy.types.Operator):
    """Open a Sequencer with the tab Parlando in the main window"""

    bl_idname = "parlando.open_sequencer"
    bl_label = "Open the Sequencer"
    bl_options = {"REGISTER"}

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Does so."""
        try:
            first_steps.open_sequencer()
        except Problem as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        return {"FINISHED"}


class PARLANDO_OT_use_example(bpy.types.Operator):
    """Add a strip with 11 seconds of speech at the current frame, and choose a portrait that comes with Parlando"""

    bl_idname = "parlando.use_example"
    bl_label = "Use the Example"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs the example's files."""
        reason = first_steps.why_no_example()
        if reason:
            cls.poll_message_set(reason)
        return not reason

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Does so."""
        try:
            told = first_steps.use_example(compat.sequencer_scene(context))
        except Problem as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        self.report({"INFO"}, told)
        return {"FINISHED"}


class PARLANDO_OT_close_first_steps(bpy.types.Operator):
    """Put the first steps away. The preferences of Parlando bring them back"""

    bl_idname = "parlando.close_first_steps"
    bl_label = "Close First Steps"
    bl_options = {"REGISTER"}

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Does so."""
        first_steps.close()
        return {"FINISHED"}


CLASSES = (PARLANDO_OT_open_sequencer, PARLANDO_OT_use_example, PARLANDO_OT_close_first_steps)
