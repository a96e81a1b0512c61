"""The animator's tools on landmarks: handles."""

from typing import TYPE_CHECKING

import bpy

from ..addon import compat, handles, landmarks, takes
from ..addon.problem import Problem

if TYPE_CHECKING:
    from bpy.stub_internal.rna_enums import OperatorReturnItems


def rig_in_use(scene: bpy.types.Scene) -> landmarks.Rig:
    """The landmarks meant: those of the active object, else of the sound in use. Raises Problem."""
    rig = landmarks.in_use(scene)
    if rig is None:
        raise Problem("Add the landmarks of the take first.")
    return rig


def why_no_rig(scene: bpy.types.Scene) -> str:
    """Why there are no landmarks to work on; empty when there are."""
    try:
        rig_in_use(scene)
    except Problem as problem:
        return str(problem).rstrip(".")
    return ""


def why_no_handles(scene: bpy.types.Scene) -> str:
    """Why Add Handles is greyed; empty when it is not."""
    try:
        return handles.why_none(rig_in_use(scene))
    except Problem as problem:
        return str(problem).rstrip(".")


def why_no_rest(scene: bpy.types.Scene) -> str:
    """Why Rest Handles is greyed; empty when it is not."""
    try:
        return "" if handles.find(rig_in_use(scene)) else "Add handles first"
    except Problem as problem:
        return str(problem).rstrip(".")


class PARLANDO_OT_add_handles(bpy.types.Operator):
    """Add handles for jaw, mouth, brows and eyelids. What they move comes on top of every landmark's own keys"""

    bl_idname = "parlando.add_handles"
    bl_label = "Add Handles"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs landmarks without handles."""
        reason = why_no_handles(compat.sequencer_scene(context))
        if reason:
            cls.poll_message_set(reason)
        return not reason

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Makes them."""
        scene = compat.sequencer_scene(context)
        try:
            rig = rig_in_use(scene)
            base = takes.by_name(scene, rig.collection.get(landmarks.BASE, ""))
            if base is None:
                raise Problem(
                    f"The take of the landmarks “{rig.collection.name}” is not in this scene: add them again."
                )
            made = handles.add(rig, landmarks.Data.load(takes.folder_of(base) / "landmarks.npz"))
        except Problem as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        self.report({"INFO"}, f"{len(made)} handles: move and key them, Alt+G brings one to rest")
        return {"FINISHED"}


class PARLANDO_OT_rest_handles(bpy.types.Operator):
    """Bring the selected handles to rest, all when none is selected. Keyed ones get a key on this frame"""

    bl_idname = "parlando.rest_handles"
    bl_label = "Rest Handles"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs handles."""
        reason = why_no_rest(compat.sequencer_scene(context))
        if reason:
            cls.poll_message_set(reason)
        return not reason

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Does so."""
        scene = compat.sequencer_scene(context)
        try:
            rig = rig_in_use(scene)
        except Problem as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        there = handles.find(rig)
        selected = [name for name, item in there.items() if item.select_get()]
        moved = handles.rest(rig, selected or there, scene.frame_current)
        self.report({"INFO"}, f"{moved} handles brought to rest")
        return {"FINISHED"}


CLASSES = (PARLANDO_OT_add_handles, PARLANDO_OT_rest_handles)
