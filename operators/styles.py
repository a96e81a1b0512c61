"""Styles: make, rename, remove, export, import, preview."""

from pathlib import Path
from typing import TYPE_CHECKING

import bpy

from ..addon import compat, jobs, style_make, style_preview, styles
from ..addon.problem import Problem

if TYPE_CHECKING:
    from bpy.stub_internal.rna_enums import OperatorReturnItems


def _failed(operator: bpy.types.Operator, problem: Problem) -> "set[OperatorReturnItems]":
    """Tells it where reports are seen and where they are not."""
    jobs.tell(str(problem))
    operator.report({"ERROR"}, str(problem))
    return {"CANCELLED"}


class PARLANDO_OT_make_style(bpy.types.Operator):
    """Make a style from a movie strip, an image strip or a file: how somebody rests and moves while talking"""

    bl_idname = "parlando.make_style"
    bl_label = "Make Style"
    bl_options = {"REGISTER"}

    strip: bpy.props.StringProperty(
        name="Strip", description="Name of a movie or image strip; empty: as the panel says", options={"SKIP_SAVE"}
    )
    name: bpy.props.StringProperty(name="Name", description="What the style is called", options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a source."""
        reason = style_make.why_not(compat.sequencer_scene(context))
        if reason:
            cls.poll_message_set(reason)
        return not reason

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Queues the job."""
        try:
            job = style_make.make(compat.sequencer_scene(context), self.strip, self.name)
        except Problem as problem:
            return _failed(self, problem)
        self.report({"INFO"}, f"{job.title} is being made")
        return {"FINISHED"}


class _OfLibrary:
    """What works on the chosen style of the library."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs one of the library."""
        reason = styles.why_not_in_library(compat.sequencer_scene(context))
        if reason:
            cls.poll_message_set(reason)  # type: ignore[attr-defined]
        return not reason


class PARLANDO_OT_rename_style(_OfLibrary, bpy.types.Operator):
    """Give the chosen style another name. Its file stays where it is, so all that uses it goes on finding it"""

    bl_idname = "parlando.rename_style"
    bl_label = "Rename Style"
    bl_options = {"REGISTER"}

    name: bpy.props.StringProperty(name="Name", description="The new name", options={"SKIP_SAVE"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> "set[OperatorReturnItems]":
        """Asks for the name."""
        style = styles.chosen(compat.sequencer_scene(context))
        self.name = style.name if style is not None else ""
        return context.window_manager.invoke_props_dialog(self)

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Renames it."""
        style = styles.chosen(compat.sequencer_scene(context))
        assert style is not None
        try:
            self.report({"INFO"}, styles.rename(style.path, self.name))
        except Problem as problem:
            return _failed(self, problem)
        return {"FINISHED"}


class PARLANDO_OT_remove_style(_OfLibrary, bpy.types.Operator):
    """Delete the chosen style's file and pictures from the library. Takes made with it stay"""

    bl_idname = "parlando.remove_style"
    bl_label = "Remove Style"
    bl_options = {"REGISTER", "UNDO"}

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> "set[OperatorReturnItems]":
        """Asks first."""
        style = styles.chosen(compat.sequencer_scene(context))
        return context.window_manager.invoke_confirm(
            self,
            event,
            title=f"Remove the style “{style.name}”?" if style is not None else "Remove the style?",
            message="Its file is deleted, which cannot be undone. Takes made with it stay.",
            confirm_text="Remove",
            icon="WARNING",
        )

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Removes it."""
        style = styles.chosen(compat.sequencer_scene(context))
        assert style is not None
        try:
            self.report({"INFO"}, styles.remove(style.path))
        except Problem as problem:
            return _failed(self, problem)
        return {"FINISHED"}


class PARLANDO_OT_export_style(bpy.types.Operator):
    """Write a copy of the chosen style to give away, with the pictures of its reference frames beside it"""

    bl_idname = "parlando.export_style"
    bl_label = "Export Style"
    bl_options = {"REGISTER"}

    filepath: bpy.props.StringProperty(name="File", description="The copy", subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_glob: bpy.props.StringProperty(default="*.safetensors", options={"HIDDEN"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a style."""
        reason = styles.why_no_style(compat.sequencer_scene(context))
        if reason:
            cls.poll_message_set(reason)
        return not reason

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> "set[OperatorReturnItems]":
        """Asks where to."""
        style = styles.chosen(compat.sequencer_scene(context))
        if style is not None:
            self.filepath = style.path.name
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Copies it."""
        style = styles.chosen(compat.sequencer_scene(context))
        assert style is not None
        try:
            if not self.filepath:
                raise Problem("Choose where the style shall be written to.")
            self.report({"INFO"}, styles.export(style, Path(bpy.path.abspath(self.filepath))))
        except Problem as problem:
            return _failed(self, problem)
        return {"FINISHED"}


class PARLANDO_OT_import_style(bpy.types.Operator):
    """Copy a style file somebody gave you into the library, and choose it"""

    bl_idname = "parlando.import_style"
    bl_label = "Import Style"
    bl_options = {"REGISTER", "UNDO"}

    filepath: bpy.props.StringProperty(
        name="File", description="The style file", subtype="FILE_PATH", options={"SKIP_SAVE"}
    )
    filter_glob: bpy.props.StringProperty(default="*.safetensors", options={"HIDDEN"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> "set[OperatorReturnItems]":
        """Asks which."""
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Copies it."""
        try:
            path, told = styles.bring_in(Path(bpy.path.abspath(self.filepath)))
        except Problem as problem:
            return _failed(self, problem)
        styles.choose(compat.sequencer_scene(context), path)
        self.report({"INFO"}, told)
        return {"FINISHED"}


class PARLANDO_OT_preview_style(bpy.types.Operator):
    """Two seconds of the sound in use, from the current frame on, with the chosen style on the portrait. Nothing of it
    is put into the scene"""

    bl_idname = "parlando.preview_style"
    bl_label = "Preview Style"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs what Generate needs."""
        reason = style_preview.why_not(compat.sequencer_scene(context))
        if reason:
            cls.poll_message_set(reason)
        return not reason

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Queues the job."""
        try:
            job = style_preview.preview(compat.sequencer_scene(context))
        except Problem as problem:
            return _failed(self, problem)
        self.report({"INFO"}, f"{job.title} is being made")
        return {"FINISHED"}


class PARLANDO_OT_close_style_preview(bpy.types.Operator):
    """Put the preview away"""

    bl_idname = "parlando.close_style_preview"
    bl_label = "Close Preview"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs one."""
        if style_preview.shown() is None:
            cls.poll_message_set("There is no preview")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Closes it."""
        style_preview.close()
        return {"FINISHED"}


CLASSES = (
    PARLANDO_OT_make_style,
    PARLANDO_OT_rename_style,
    PARLANDO_OT_remove_style,
    PARLANDO_OT_export_style,
    PARLANDO_OT_import_style,
    PARLANDO_OT_preview_style,
    PARLANDO_OT_close_style_preview,
)
