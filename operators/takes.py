"""Show another take, compare two, take one off the list."""

from typing import TYPE_CHECKING

import bpy

from ..addon import compat, generate
from ..addon.problem import Problem

if TYPE_CHECKING:
    from bpy.stub_internal.rna_enums import OperatorReturnItems


class PARLANDO_OT_use_take(bpy.types.Operator):
    """Show this take in the sound's image strip and on its picture plane"""

    bl_idname = "parlando.use_take"
    bl_label = "Use Take"
    bl_options = {"REGISTER", "UNDO"}

    take: bpy.props.StringProperty(name="Take", description="Its name", options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a take."""
        if not len(compat.sequencer_scene(context).parlando.takes):
            cls.poll_message_set("Generate a take first")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Shows it."""
        try:
            self.report({"INFO"}, generate.use_take(compat.sequencer_scene(context), self.take))
        except Problem as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        return {"FINISHED"}


class PARLANDO_OT_compare_take(bpy.types.Operator):
    """Flip to the take that was shown before, and back with the next press: to see which of two is better"""

    bl_idname = "parlando.compare_take"
    bl_label = "Flip Takes"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs two takes of one sound."""
        if generate.other_take(compat.sequencer_scene(context)) is None:
            cls.poll_message_set("There is no second take of this sound to compare with")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Shows the other."""
        scene = compat.sequencer_scene(context)
        try:
            other = generate.other_take(scene)
            self.report({"INFO"}, generate.use_take(scene, other.name if other is not None else ""))
        except Problem as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        return {"FINISHED"}


class PARLANDO_OT_remove_take(bpy.types.Operator):
    """Take the selected take off the list; with its files if you say so"""

    bl_idname = "parlando.remove_take"
    bl_label = "Remove Take"
    bl_options = {"REGISTER", "UNDO"}

    files: bpy.props.BoolProperty(
        name="Delete Its Files",
        description="Frames, landmarks and sound of the take go too. No undo brings them back",
        options={"SKIP_SAVE"},
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a take that nothing needs."""
        settings = compat.sequencer_scene(context).parlando
        there = 0 <= settings.take_index < len(settings.takes)
        take = settings.takes[settings.take_index] if there else None
        if reason := generate.why_not_remove(compat.sequencer_scene(context), take):
            cls.poll_message_set(reason)
            return False
        return True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> "set[OperatorReturnItems]":
        """Asks about the files."""
        return context.window_manager.invoke_props_dialog(self)

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Removes it."""
        try:
            self.report({"INFO"}, generate.remove_take(compat.sequencer_scene(context), files=self.files))
        except Problem as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        return {"FINISHED"}


CLASSES = (PARLANDO_OT_use_take, PARLANDO_OT_compare_take, PARLANDO_OT_remove_take)
