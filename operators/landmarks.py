"""Landmarks of a take as empties, and rendering their edits."""

from typing import TYPE_CHECKING

import bpy

from ..addon import compat, generate, jobs, landmarks, look, preferences, strips, takes
from ..addon.problem import Problem
from . import animate

if TYPE_CHECKING:
    from bpy.stub_internal.rna_enums import OperatorReturnItems


def why_no_take(scene: bpy.types.Scene) -> str:
    """Why there is no take to work with; empty when there is."""
    return takes.why_not_usable(takes.shown(scene, strips.sound_in_use(scene)))


def why_no_render(scene: bpy.types.Scene) -> str:
    """Why Render Edits is greyed; empty when it is not."""
    if reason := why_no_take(scene):
        return reason
    take = takes.shown(scene, strips.sound_in_use(scene))
    try:
        if take is None or landmarks.find(scene, take.sound_id) is None:
            return "Add the landmarks of the take first"
    except Problem as problem:
        return str(problem)
    return "" if preferences.engine_python() else preferences.NO_ENGINE


class PARLANDO_OT_add_landmarks(bpy.types.Operator):
    """Add the take's 68 landmarks as keyed empties in front of a plane that shows its frames"""

    bl_idname = "parlando.add_landmarks"
    bl_label = "Add Landmarks"
    bl_options = {"REGISTER", "UNDO"}

    take: bpy.props.StringProperty(name="Take", description="Its name; empty is the shown one", options={"SKIP_SAVE"})
    look: bpy.props.BoolProperty(
        name="Look at the Face", description="Turn a 3D View to the face as well", default=False, options={"SKIP_SAVE"}
    )
    camera: bpy.props.BoolProperty(
        name="Camera", description="Also add an orthographic camera that sees just the picture", default=False
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a take."""
        reason = why_no_take(compat.sequencer_scene(context))
        if reason:
            cls.poll_message_set(reason)
        return not reason

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Makes them."""
        try:
            scene = compat.sequencer_scene(context)
            told = generate.add_landmarks(scene, self.take, self.camera)
            if self.look:
                look.at_face(context, animate.rig_in_use(scene))
            self.report({"INFO"}, told)
        except Problem as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        return {"FINISHED"}


class PARLANDO_OT_look_at_face(bpy.types.Operator):
    """Look at the face from the front, in its own colours, everything else hidden. Numpad / brings the rest back"""

    bl_idname = "parlando.look_at_face"
    bl_label = "Look at the Face"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs landmarks."""
        reason = animate.why_no_rig(compat.sequencer_scene(context))
        if reason:
            cls.poll_message_set(reason)
        return not reason

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Turns the view."""
        try:
            look.at_face(context, animate.rig_in_use(compat.sequencer_scene(context)))
        except Problem as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        return {"FINISHED"}


class PARLANDO_OT_render_edits(bpy.types.Operator):
    """Render the frames whose landmarks were moved; all others are taken over"""

    bl_idname = "parlando.render_edits"
    bl_label = "Render Edits"
    bl_options = {"REGISTER"}

    take: bpy.props.StringProperty(name="Take", description="Its name; empty is the shown one", options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a take, its landmarks and an engine."""
        reason = why_no_render(compat.sequencer_scene(context))
        if reason:
            cls.poll_message_set(reason)
        return not reason

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Queues the job."""
        try:
            job = generate.render_edits(compat.sequencer_scene(context), self.take)
        except Problem as problem:
            jobs.tell(str(problem))
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        self.report({"INFO"}, f"{job.title} is being made")
        return {"FINISHED"}


CLASSES = (PARLANDO_OT_add_landmarks, PARLANDO_OT_look_at_face, PARLANDO_OT_render_edits)
