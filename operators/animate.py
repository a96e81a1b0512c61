"""The animator's tools on landmarks: handles, and what touches up their motion."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import bpy

from ..addon import compat, handles, landmarks, preferences, restyle, styles, takes, touch
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


def motion_of(take: Any) -> landmarks.Data:
    """A take's landmarks as the engine made them. Raises Problem."""
    return landmarks.Data.load(takes.folder_of(take) / "landmarks.npz")


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


def why_no_touch(scene: bpy.types.Scene) -> str:
    """Why Smooth, Amplify, Mirror and Copy Shape are greyed; empty when they are not."""
    try:
        return takes.why_not_usable(touch.take_of(scene, rig_in_use(scene)))
    except Problem as problem:
        return str(problem).rstrip(".")


def why_no_blend(scene: bpy.types.Scene) -> str:
    """Why Blend to Style is greyed; empty when it is not."""
    return why_no_touch(scene) or ("" if preferences.engine_python() else preferences.NO_ENGINE)


def why_no_paste(scene: bpy.types.Scene) -> str:
    """Why Paste Shape is greyed; empty when it is not."""
    return why_no_touch(scene) or ("" if touch.copied() is not None else "Copy a shape first")


def why_none_chosen(scene: bpy.types.Scene, region: str) -> str:
    """Why a region has no landmarks to change; empty when it has."""
    try:
        return "" if touch.chosen(rig_in_use(scene), region) else "Select landmarks first, or choose another region"
    except Problem as problem:
        return str(problem).rstrip(".")


def frames_told(scene: bpy.types.Scene) -> str:
    """The frames that the tools change, for the panel; empty without landmarks."""
    try:
        rig = rig_in_use(scene)
        start, end = touch.usual(scene, rig, touch.take_of(scene, rig))
    except Problem:
        return ""
    if start > end:
        return "The preview range is outside the take"
    return f"Frames {start}–{end}: the {'preview range' if scene.use_preview_range else 'whole take'}"


def _polled(cls: Any, reason: str) -> bool:
    if reason:
        cls.poll_message_set(reason)
    return not reason


def why_nothing_moved(scene: bpy.types.Scene) -> str:
    """Why Key Moved is greyed; empty when it is not."""
    if reason := why_no_touch(scene):
        return reason
    return "" if touch.unkeyed(scene, rig_in_use(scene)) else "No landmark was moved on this frame without a key"


class PARLANDO_OT_key_moved(bpy.types.Operator):
    """Key the landmarks that were moved on this frame, on top of the engine's motion; they get there and back in Ease
    frames"""

    bl_idname = "parlando.key_moved"
    bl_label = "Key Moved"
    bl_options = {"REGISTER", "UNDO"}

    ease: bpy.props.IntProperty(
        name="Ease", description="Frames it takes to get there, and back", default=touch.EASE, min=0, soft_max=50
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a landmark that was moved."""
        return _polled(cls, why_nothing_moved(compat.sequencer_scene(context)))

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Does so."""
        scene = compat.sequencer_scene(context)
        try:
            rig = rig_in_use(scene)
            count = touch.key_moved(scene, rig, touch.take_of(scene, rig), self.ease)
        except Problem as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        self.report({"INFO"}, f"Keyed on frame {scene.frame_current}: {count} of the landmarks")
        return {"FINISHED"}


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
            made = handles.add(rig, motion_of(touch.take_of(scene, rig)))
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


class _Region:
    """The landmarks that a tool changes."""

    region: bpy.props.EnumProperty(
        name="Region", description="The landmarks that are changed", items=touch.REGION_ITEMS, default="MOUTH_JAW"
    )

    def touched(self, scene: bpy.types.Scene, rig: landmarks.Rig) -> list[int]:
        """Their indices. Raises Problem."""
        if reason := why_none_chosen(scene, self.region):
            raise Problem(f"{reason}.")
        return touch.chosen(rig, self.region)


class _OverFrames(_Region):
    """A tool over a range of frames."""

    start: bpy.props.IntProperty(
        name="Start", description="First frame; not given it is the preview range's, else the take's",
        options={"SKIP_SAVE"},
    )  # fmt: skip
    end: bpy.props.IntProperty(
        name="End", description="Last frame; not given it is the preview range's, else the take's",
        options={"SKIP_SAVE"},
    )  # fmt: skip
    ease: bpy.props.IntProperty(
        name="Ease",
        description="Frames over which the change comes and goes inside the range; none where the take begins or ends",
        default=4,
        min=0,
        soft_max=50,
    )

    ending = " changed"  # of what is told

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs landmarks and their take."""
        return _polled(cls, why_no_touch(compat.sequencer_scene(context)))

    def run(
        self,
        context: bpy.types.Context,
        done: str,
        change: Callable[[landmarks.Rig, landmarks.Data, touch.Span, list[int]], int],
    ) -> "set[OperatorReturnItems]":
        """Gathers, changes and reports."""
        operator: Any = self
        scene = compat.sequencer_scene(context)
        try:
            rig = rig_in_use(scene)
            take = touch.take_of(scene, rig)
            start, end = touch.usual(scene, rig, take)
            given = [operator.properties.is_property_set(name) for name in ("start", "end")]
            if not any(given) and start > end:
                raise Problem("The preview range is outside the take: move it there or clear it.")
            self.start, self.end = self.start if given[0] else start, self.end if given[1] else end
            span = touch.span(rig, take, self.start, self.end, self.ease)
            count = change(rig, motion_of(take), span, self.touched(scene, rig))
        except Problem as problem:
            operator.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        operator.report({"INFO"}, f"{done} on {span.start}–{span.end}: {count} landmarks{self.ending}")
        return {"FINISHED"}


class PARLANDO_OT_smooth_motion(_OverFrames, bpy.types.Operator):
    """Take jitter out of the landmarks' motion. The change is keyed on Delta Location, the engine's keys stay"""

    bl_idname = "parlando.smooth_motion"
    bl_label = "Smooth"
    bl_options = {"REGISTER", "UNDO"}

    amount: bpy.props.FloatProperty(
        name="Amount",
        description="What is faster than about this many frames goes: more also takes lip closures away",
        default=1.0,
        min=0.1,
        soft_max=5.0,
        max=50.0,
    )

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Does so."""
        return self.run(context, "Smoothed", lambda rig, _, span, region: touch.smooth(rig, span, region, self.amount))


class PARLANDO_OT_amplify_motion(_OverFrames, bpy.types.Operator):
    """Make the landmarks' motion larger or quieter, measured from the silent face"""

    bl_idname = "parlando.amplify_motion"
    bl_label = "Amplify"
    bl_options = {"REGISTER", "UNDO"}

    amount: bpy.props.FloatProperty(
        name="Amount",
        description="How many times as large the motion becomes: 0 is the silent face, 1 changes nothing",
        default=1.3,
        min=0.0,
        soft_max=2.0,
        max=10.0,
    )

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Does so."""
        return self.run(
            context,
            "Amplified" if self.amount >= 1.0 else "Quieted",
            lambda rig, data, span, region: touch.amplify(rig, data, span, region, self.amount),
        )


class PARLANDO_OT_mirror_motion(_OverFrames, bpy.types.Operator):
    """Swap what the two sides of the face do; the other side of chosen landmarks changes too"""

    bl_idname = "parlando.mirror_motion"
    bl_label = "Mirror"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Does so."""
        return self.run(context, "Mirrored", touch.mirror)


class PARLANDO_OT_blend_style(_OverFrames, bpy.types.Operator):
    """Bring the landmarks' motion towards how the same words go in the chosen style. Takes the engine some seconds"""

    bl_idname = "parlando.blend_style"
    bl_label = "Blend to Style"
    bl_options = {"REGISTER"}
    ending = ""

    amount: bpy.props.FloatProperty(
        name="Amount",
        description="How far: 0 changes nothing, 1 is the style, more exaggerates",
        default=1.0,
        min=0.0,
        soft_max=1.0,
        max=1.5,
    )
    style: bpy.props.StringProperty(
        name="Style", description="A style file; not given it is the scene's, empty is Parlando's own manner",
        options={"SKIP_SAVE"},
    )  # fmt: skip

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs landmarks, their take and an engine."""
        return _polled(cls, why_no_blend(compat.sequencer_scene(context)))

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Queues the job."""
        scene = compat.sequencer_scene(context)
        style = self.style if self.properties.is_property_set("style") else scene.parlando.style_file
        path = styles.path_of(style)
        told = f"“{styles.entry(path).name}”" if path is not None else "Parlando's own manner"

        def ask(rig: landmarks.Rig, data: landmarks.Data, span: touch.Span, region: list[int]) -> int:
            restyle.blend(scene, rig, style, span, region, self.amount, told)
            return len(region)

        return self.run(context, f"Blending to {told}", ask)


class PARLANDO_OT_copy_shape(bpy.types.Operator):
    """Copy the face's shape on this frame, to paste it on other frames, other landmarks or in another file"""

    bl_idname = "parlando.copy_shape"
    bl_label = "Copy Shape"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs landmarks and their take."""
        return _polled(cls, why_no_touch(compat.sequencer_scene(context)))

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Does so."""
        scene = compat.sequencer_scene(context)
        try:
            rig = rig_in_use(scene)
            take = touch.take_of(scene, rig)
            frame = touch.span(rig, take, scene.frame_current, scene.frame_current, 0).start
            shape = touch.copy(rig, motion_of(take), frame)
        except Problem as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        self.report({"INFO"}, f"Copied {shape.told}")
        return {"FINISHED"}


class PARLANDO_OT_paste_shape(_Region, bpy.types.Operator):
    """Bring the region to the copied shape on this frame; the motion goes there and comes back"""

    bl_idname = "parlando.paste_shape"
    bl_label = "Paste Shape"
    bl_options = {"REGISTER", "UNDO"}

    amount: bpy.props.FloatProperty(
        name="Amount",
        description="How far: 0 changes nothing, 1 is the copied shape, more exaggerates",
        default=1.0,
        min=0.0,
        soft_max=1.0,
        max=2.0,
    )
    ease: bpy.props.IntProperty(
        name="Ease", description="Frames it takes to get to the shape, and back", default=3, min=0, soft_max=50
    )
    hold: bpy.props.IntProperty(
        name="Hold", description="Frames after this one on which the shape stays", default=0, min=0, soft_max=100
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs landmarks, their take and a copied shape."""
        return _polled(cls, why_no_paste(compat.sequencer_scene(context)))

    def execute(self, context: bpy.types.Context) -> "set[OperatorReturnItems]":
        """Does so."""
        scene = compat.sequencer_scene(context)
        try:
            rig = rig_in_use(scene)
            take = touch.take_of(scene, rig)
            frame = touch.span(rig, take, scene.frame_current, scene.frame_current, 0).start
            span = touch.Span(frame - self.ease, frame + self.hold + self.ease, self.ease, self.ease)
            count = touch.paste(rig, motion_of(take), span, self.touched(scene, rig), self.amount)
        except Problem as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        self.report({"INFO"}, f"Pasted on frame {frame}: {count} landmarks changed")
        return {"FINISHED"}


CLASSES = (
    PARLANDO_OT_key_moved,
    PARLANDO_OT_add_handles,
    PARLANDO_OT_rest_handles,
    PARLANDO_OT_smooth_motion,
    PARLANDO_OT_amplify_motion,
    PARLANDO_OT_mirror_motion,
    PARLANDO_OT_blend_style,
    PARLANDO_OT_copy_shape,
    PARLANDO_OT_paste_shape,
)
