"""Generate, and Cancel of any job."""

from typing import TYPE_CHECKING

import bpy

from ..addon import compat, generate, jobs
from ..addon.problem import Problem

if TYPE_CHECKING:
    from bpy.stub_internal.rna_enums import OperatorReturnItems


class PARLANDO_OT_generate(bpy.types.Operator):
    """Make the portrait speak the sound strip in use. The result comes as an image strip above the sound"""

    bl_idname = "parlando.generate"
    bl_label = "Generate"
    bl_options = {"REGISTER"}

    strip: bpy.props.StringProperty(
        name="Sound Strip", description="Name of the sound strip; empty is the one in use", options={"SKIP_SAVE"}
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs an engine; which strip is looked at when it runs."""
        reason = generate.why_not_generate(compat.sequencer_scene(context))
        if reason:
            cls.poll_message_set(reason)
        return not reason

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Queues the job."""
        try:
            job = generate.generate(compat.sequencer_scene(context), self.strip)
        except Problem as problem:
            jobs.tell(str(problem))
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        self.report({"INFO"}, f"{job.title} is being made")
        return {"FINISHED"}


class PARLANDO_OT_cancel(bpy.types.Operator):
    """Cancel the job in work. Nothing of it is kept"""

    bl_idname = "parlando.cancel"
    bl_label = "Cancel"
    bl_options = {"REGISTER"}

    job: bpy.props.IntProperty(
        name="Job", description="Number of the job; −1 is the one in work", default=-1, options={"SKIP_SAVE"}
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a job."""
        if not jobs.active():
            cls.poll_message_set("Nothing is being made")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Cancels it."""
        return {"FINISHED"} if jobs.cancel(self.job) else {"CANCELLED"}


CLASSES = (PARLANDO_OT_generate, PARLANDO_OT_cancel)
