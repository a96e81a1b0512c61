"""The engine's environment: make it, stop making it, check it."""

from typing import TYPE_CHECKING

import bpy

from ..addon import jobs, preferences

if TYPE_CHECKING:
    from bpy.stub_internal.rna_enums import OperatorReturnItems


class PARLANDO_OT_create_environment(bpy.types.Operator):
    """Make the engine's Python environment: PyTorch and what else the engine needs, apart from Blender's own Python"""

    bl_idname = "parlando.create_environment"
    bl_label = "Create Environment"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs online access or a folder of wheels."""
        reason = preferences.why_no_creation()
        if reason:
            cls.poll_message_set(reason)
        return not reason

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Starts it."""
        if jobs.active():
            self.report({"ERROR"}, "A take is being made: wait for it or cancel it first.")
            return {"CANCELLED"}
        preferences.create_environment()
        return {"FINISHED"}


class PARLANDO_OT_cancel_environment(bpy.types.Operator):
    """Stop making the environment and remove what is there of it"""

    bl_idname = "parlando.cancel_environment"
    bl_label = "Cancel"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs one that is being made."""
        creation = jobs.creation()
        if creation is None or not creation.working:
            cls.poll_message_set("No environment is being made")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Cancels it."""
        creation = jobs.creation()
        if creation is not None:
            creation.cancel()
        return {"FINISHED"}


class PARLANDO_OT_check_engine(bpy.types.Operator):
    """Start the engine and let it tell its versions, its device and what it misses"""

    bl_idname = "parlando.check_engine"
    bl_label = "Check"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs an environment, and an engine that is not at work."""
        reason = preferences.why_no_check()
        if reason:
            cls.poll_message_set(reason)
        return not reason

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Asks it."""
        preferences.check_engine()
        return {"FINISHED"}


CLASSES = (PARLANDO_OT_create_environment, PARLANDO_OT_cancel_environment, PARLANDO_OT_check_engine)
