"""Key a 3D face from a take."""

from typing import TYPE_CHECKING

import bpy

from ..addon import compat, face3d, jobs
from ..addon.problem import Problem

if TYPE_CHECKING:
    from bpy.stub_internal.rna_enums import OperatorReturnItems


class PARLANDO_OT_key_face(bpy.types.Operator):
    """Key the chosen head's shape keys, and its turn, from the take's landmarks as they are now"""

    bl_idname = "parlando.key_face"
    bl_label = "Key 3D Face"
    bl_options = {"REGISTER"}

    take: bpy.props.StringProperty(name="Take", description="Its name; empty is the shown one", options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a take, a mesh with ARKit's names and an engine."""
        reason = face3d.why_not(compat.sequencer_scene(context))
        if reason:
            cls.poll_message_set(reason)
        return not reason

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Queues the job."""
        try:
            job = face3d.key_face(compat.sequencer_scene(context), self.take)
        except Problem as problem:
            jobs.tell(str(problem))
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        self.report({"INFO"}, f"{job.title} is being keyed")
        return {"FINISHED"}


CLASSES = (PARLANDO_OT_key_face,)
