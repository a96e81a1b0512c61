"""Pin frames so that a new take keeps them, and unpin them."""

from typing import TYPE_CHECKING

import bpy

from ..addon import compat, pin_frames, pins
from ..addon.problem import Problem
from . import animate

if TYPE_CHECKING:
    from bpy.stub_internal.rna_enums import OperatorReturnItems


def why_no_unpin(scene: bpy.types.Scene) -> str:
    """Why Unpin is greyed; empty when it is not."""
    try:
        return "" if pin_frames.chosen(scene, animate.rig_in_use(scene)) is not None else "No frames are pinned"
    except Problem as problem:
        return str(problem).rstrip(".")


class PARLANDO_OT_pin_frames(bpy.types.Operator):
    """Keep the motion of these frames when a new take comes: another seed, style or sound leaves them as they are"""

    bl_idname = "parlando.pin_frames"
    bl_label = "Pin Frames"
    bl_options = {"REGISTER", "UNDO"}

    start: bpy.props.IntProperty(
        name="Start",
        description="First frame to pin; else the preview range or around the current frame",
        options={"SKIP_SAVE"},
    )
    end: bpy.props.IntProperty(name="End", description="Last frame to pin", options={"SKIP_SAVE"})
    ease: bpy.props.IntProperty(
        name="Ease",
        description="Frames on either side that lead from the pinned motion into the new one",
        default=pins.EASE,
        min=0,
        max=100,
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs landmarks."""
        reason = animate.why_no_rig(compat.sequencer_scene(context))
        if reason:
            cls.poll_message_set(reason)
        return not reason

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Pins them."""
        scene = compat.sequencer_scene(context)
        first, last = pin_frames.range_meant(scene)
        if not self.properties.is_property_set("start"):
            self.start = first
        if not self.properties.is_property_set("end"):
            self.end = max(last, self.start)
        try:
            self.report({"INFO"}, pin_frames.pin(scene, animate.rig_in_use(scene), self.start, self.end, self.ease))
        except Problem as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        return {"FINISHED"}


class PARLANDO_OT_unpin_frames(bpy.types.Operator):
    """Let these frames follow the take again, those of the selected pin when no frames are given"""

    bl_idname = "parlando.unpin_frames"
    bl_label = "Unpin Frames"
    bl_options = {"REGISTER", "UNDO"}

    start: bpy.props.IntProperty(
        name="Start", description="First frame; else that of the selected pin", options={"SKIP_SAVE"}
    )
    end: bpy.props.IntProperty(
        name="End", description="Last frame; else that of the selected pin", options={"SKIP_SAVE"}
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs pinned frames."""
        reason = why_no_unpin(compat.sequencer_scene(context))
        if reason:
            cls.poll_message_set(reason)
        return not reason

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Unpins them."""
        scene = compat.sequencer_scene(context)
        try:
            rig = animate.rig_in_use(scene)
            pin = pin_frames.chosen(scene, rig)
            if pin is None:
                raise Problem("No frames are pinned.")
            first, last = pin_frames.frames_of(rig, pin)
            if not self.properties.is_property_set("start"):
                self.start = first
            if not self.properties.is_property_set("end"):
                self.end = max(last, self.start)
            self.report({"INFO"}, pin_frames.unpin(scene, rig, self.start, self.end))
        except Problem as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        return {"FINISHED"}


CLASSES = (PARLANDO_OT_pin_frames, PARLANDO_OT_unpin_frames)
