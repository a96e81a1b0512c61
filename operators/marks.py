"""The sounds of a strip on the timeline: mark, clear."""

from typing import TYPE_CHECKING

import bpy

from ..addon import compat, jobs, marks, strips
from ..addon.problem import Problem

if TYPE_CHECKING:
    from bpy.stub_internal.rna_enums import OperatorReturnItems


class PARLANDO_OT_mark_sounds(bpy.types.Operator):
    """Hear which sounds are spoken when, and mark them on the timeline, to snap keys to. Marks of before are replaced;
    those you moved or renamed stay"""

    bl_idname = "parlando.mark_sounds"
    bl_label = "Mark Sounds"
    bl_options = {"REGISTER"}

    kind: bpy.props.EnumProperty(
        name="Name",
        description="What a mark is called",
        items=(
            ("VISEME", "Visemes", "The mouth shape: MBP, FV, L, WQ, U, O, AI, E, etc (Preston Blair)"),
            ("PHONE", "Phones", "The sound itself, in ARPAbet"),
        ),
    )
    place: bpy.props.EnumProperty(
        name="As",
        description="Where marks are put",
        items=(
            ("MARKER", "Markers", "Timeline markers: the editors of keys can snap to them"),
            ("STRIP", "Text Strips", "Muted text strips above the sound, which move with it in a selection"),
        ),
    )
    words: bpy.props.StringProperty(
        name="Words",
        description="What is said, for exact times. Empty: guessed, in English; other languages by likeness",
        options={"SKIP_SAVE"},
    )
    strip: bpy.props.StringProperty(
        name="Sound Strip", description="Name of the sound strip; empty is the one in use", options={"SKIP_SAVE"}
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a sound strip and an engine."""
        reason = marks.why_not(compat.sequencer_scene(context))
        if reason:
            cls.poll_message_set(reason)
        return not reason

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> "set[OperatorReturnItems]":
        """Asks for names, place and words."""
        return context.window_manager.invoke_props_dialog(self)

    def draw(self, context: bpy.types.Context) -> None:
        """The dialog."""
        column = self.layout.column()
        column.use_property_split = True
        for name in ("kind", "place", "words"):
            column.prop(self, name)

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Queues it."""
        try:
            job = marks.mark(compat.sequencer_scene(context), self.kind, self.place, self.words, self.strip)
        except Problem as problem:
            jobs.tell(str(problem))
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        self.report({"INFO"}, f"{job.title} are being heard")
        return {"FINISHED"}


class PARLANDO_OT_clear_marks(bpy.types.Operator):
    """Take the marks of this sound away. Markers that you moved or renamed stay"""

    bl_idname = "parlando.clear_marks"
    bl_label = "Clear Marks"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs marks."""
        reason = marks.why_no_clear(compat.sequencer_scene(context))
        if reason:
            cls.poll_message_set(reason)
        return not reason

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Does so."""
        scene = compat.sequencer_scene(context)
        sound = strips.sound_in_use(scene)
        count = marks.clear(scene, strips.identify(scene, sound))
        self.report({"INFO"}, f"{count} marks are gone")
        return {"FINISHED"}


CLASSES = (PARLANDO_OT_mark_sounds, PARLANDO_OT_clear_marks)
