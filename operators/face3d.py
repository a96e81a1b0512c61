"""Key a 3D face from a take, and add a head that has one."""

from typing import TYPE_CHECKING

import bpy

from ..addon import compat, face3d, head3d, jobs
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


class PARLANDO_OT_add_head(bpy.types.Operator):
    """Add a head with ARKit's 52 face units at the 3D cursor, on an empty that turns it, ready for Key 3D Face. Its CC0
    source is fetched once, 48 MB"""

    bl_idname = "parlando.add_head"
    bl_label = "Add Head"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs an engine."""
        reason = head3d.why_not(compat.sequencer_scene(context))
        if reason:
            cls.poll_message_set(reason)
        return not reason

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Queues the job."""
        try:
            head3d.add_head(compat.sequencer_scene(context))
        except Problem as problem:
            jobs.tell(str(problem))
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        self.report({"INFO"}, "The head is being made")
        return {"FINISHED"}


CLASSES = (PARLANDO_OT_key_face, PARLANDO_OT_add_head)
