"""What the scene keeps (settings, takes) and what the window manager tells (`addon.jobs`'s state, read-only)."""

from typing import TYPE_CHECKING, Any

import bpy

from . import jobs, live, pins, portrait, strips, touch

if TYPE_CHECKING:
    from bpy.types import Context


def _portrait_strips(self: "ParlandoScene", context: "Context", edit_text: str) -> list[str]:
    scene: Any = self.id_data
    return [strip.name for _, strip in strips.in_scene(scene) if strip.type in portrait.STRIPS]


class ParlandoTake(bpy.types.PropertyGroup):
    """One take of the scene. Its name is its folder's."""

    folder: bpy.props.StringProperty(
        name="Folder", description="Where the take lies", subtype="DIR_PATH", options={"PATH_SUPPORTS_BLEND_RELATIVE"}
    )
    sound_id: bpy.props.StringProperty(name="Sound", description="The id of the sound strip it was made from")
    sound_name: bpy.props.StringProperty(name="Sound Strip", description="The sound strip's name when it was made")
    frames: bpy.props.IntProperty(name="Frames", description="How many frames it has")
    fps: bpy.props.IntVectorProperty(name="Frame Rate", description="Numerator and denominator", size=2)
    size: bpy.props.IntVectorProperty(name="Size", description="Width and height in pixels", size=2)
    image: bpy.props.StringProperty(
        name="Portrait",
        description="The portrait it was made with",
        subtype="FILE_PATH",
        options={"PATH_SUPPORTS_BLEND_RELATIVE"},
    )
    style: bpy.props.StringProperty(
        name="Style",
        description="The style file it was made with",
        subtype="FILE_PATH",
        options={"PATH_SUPPORTS_BLEND_RELATIVE"},
    )
    face: bpy.props.IntProperty(name="Face", description="Which face of the portrait, 0 is the largest")
    base: bpy.props.StringProperty(
        name="Base", description="The take whose landmarks the engine made; itself unless rendered from edits"
    )
    note: bpy.props.StringProperty(name="Note", description="How it came out")
    offset: bpy.props.FloatProperty(
        name="Offset", description="Frames from where the sound's content begins to the take's first"
    )


class ParlandoScene(bpy.types.PropertyGroup):
    """Settings of Generate and the takes made so far."""

    portrait_source: bpy.props.EnumProperty(
        name="Portrait",
        description="Where the portrait comes from",
        items=(
            (
                "STRIP",
                "Strip",
                "An image strip of the Sequencer, its picture at the current frame; or a movie strip, whose mouth then "
                "says the sound while head and eyes stay as they are",
            ),
            ("IMAGE", "Image", "An image of this blend file, a generated or packed one too"),
            ("FILE", "File", "A picture or movie on disk"),
        ),
        default="FILE",
    )
    portrait_strip: bpy.props.StringProperty(
        name="Portrait Strip",
        description="The image or movie strip that shows the portrait; the take is placed in the picture as it is",
        search=_portrait_strips,
        search_options={"SUGGESTION"},
    )
    portrait_image: bpy.props.PointerProperty(name="Portrait Image", description="The portrait", type=bpy.types.Image)
    portrait_file: bpy.props.StringProperty(
        name="Portrait File", description="The portrait", subtype="FILE_PATH", options={"PATH_SUPPORTS_BLEND_RELATIVE"}
    )
    face: bpy.props.IntProperty(
        name="Face", description="Which face of the portrait shall speak: 0 is the largest", min=0, max=100
    )
    style_file: bpy.props.StringProperty(
        name="Style",
        description="A style file, or the name of a style that comes with Parlando: the manner of speaking is bent "
        "towards it. Without one it is Parlando's own",
        subtype="FILE_PATH",
        options={"PATH_SUPPORTS_BLEND_RELATIVE"},
    )
    strength: bpy.props.FloatProperty(
        name="Strength",
        description="How far the motion is bent towards the style: 0 not at all, 1 fully, above exaggerates",
        default=1.0,
        min=0.0,
        max=1.5,
        subtype="FACTOR",
    )
    mouth: bpy.props.EnumProperty(
        name="Mouth",
        description="Whose teeth and tongue are seen when the lips part",
        items=(  # by their numbers scenes keep them
            ("OWN", "Portrait", "The portrait's own teeth where it shows them, else teeth made to fit it", 0),
            (
                "INSIDE",
                "Style: Inside",
                "Teeth and tongue as the reference frames of the style show them, in the portrait's place and light: "
                "for a style made of anybody",
                2,
            ),
            (
                "STYLE",
                "Style: Lips and Inside",
                "All that the reference frames of the style show of the mouth: for a style made of this very person",
                1,
            ),
        ),
        default="OWN",
    )
    seed: bpy.props.IntProperty(
        name="Seed", description="Another number gives other head motion and blinks; the same gives the same", min=0
    )
    head: bpy.props.FloatProperty(
        name="Head Motion",
        description="Amount of head motion: 0 holds the head still, 1 is as in life",
        default=1.0,
        min=0.0,
        max=2.0,
        subtype="FACTOR",
    )
    blinks: bpy.props.FloatProperty(
        name="Blinks",
        description="Amount of blinking: 0 none, 1 is as in life",
        default=1.0,
        min=0.0,
        max=2.0,
        subtype="FACTOR",
    )
    brows: bpy.props.FloatProperty(
        name="Brows",
        description="Amount of brow motion: 0 none, 1 is as in life",
        default=1.0,
        min=0.0,
        max=2.0,
        subtype="FACTOR",
    )
    shoulders: bpy.props.FloatProperty(
        name="Shoulders",
        description="How far the shoulders follow the head: 0 leaves them still, 1 is as in life. In a drawing whose "
        "figure is not told from its background they stay still",
        default=1.0,
        min=0.0,
        max=2.0,
        subtype="FACTOR",
    )
    gaze: bpy.props.FloatProperty(
        name="Steady Gaze",
        description="How far the eyes stay on the point they look at while the head turns: 0 turns them with the head",
        default=1.0,
        min=0.0,
        max=1.0,
        subtype="FACTOR",
    )
    live: bpy.props.BoolProperty(
        name="Live Picture",
        description="Render the current frame under the landmarks while they are moved. Nothing of it is kept: Render "
        "Edits makes the take",
        default=True,
        update=live.switched,
    )
    format: bpy.props.EnumProperty(
        name="Format",
        description="How the frames of a take are written",
        items=(
            ("PNG", "PNG", "8 bits, small and fast"),
            ("PNG16", "PNG, 16 bit", "16 bits, no bands in soft gradients"),
            ("EXR", "OpenEXR", "Half floats, linear Rec. 709: all the light of an EXR portrait"),
        ),
        default="PNG",
    )
    mattes: bpy.props.BoolProperty(
        name="Mattes", description="Mattes of head, face and mouth too, in the take's folder, for compositing"
    )
    region: bpy.props.EnumProperty(
        name="Region",
        description="The landmarks that the tools under Touch Up change",
        items=touch.REGION_ITEMS,
        default="MOUTH_JAW",
    )
    takes: bpy.props.CollectionProperty(name="Takes", description="What was made in this scene", type=ParlandoTake)
    take_index: bpy.props.IntProperty(name="Take", description="The take selected in the list")
    pins: bpy.props.CollectionProperty(
        name="Pins", description="Frames that keep their motion when a new take comes", type=pins.ParlandoPin
    )
    pin_index: bpy.props.IntProperty(name="Pin", description="The pinned range selected in the list")


def _told(name: str) -> Any:
    """A getter of the jobs' state."""

    def get(self: Any) -> Any:
        return getattr(jobs.status(), name)

    return get


class ParlandoStatus(bpy.types.PropertyGroup):
    """What is going on, for panels and scripts. Read-only, kept nowhere."""

    status: bpy.props.StringProperty(name="Status", description="IDLE or WORKING", get=_told("status"))
    stage: bpy.props.StringProperty(name="Stage", description="What is being done", get=_told("stage"))
    progress: bpy.props.FloatProperty(
        name="Progress", description="Part of the job that is done", min=0.0, max=1.0, get=_told("progress")
    )
    seconds_left: bpy.props.FloatProperty(
        name="Seconds Left", description="Of the job in work, −1 when unknown", get=_told("seconds_left")
    )
    queued: bpy.props.IntProperty(name="Queued", description="Jobs that wait", get=_told("queued"))
    outcome: bpy.props.StringProperty(
        name="Outcome", description="DONE, FAILED or CANCELLED: the last job", get=_told("outcome")
    )
    message: bpy.props.StringProperty(name="Message", description="The last result or error", get=_told("message"))
    engine: bpy.props.StringProperty(name="Engine", description="OFF, STARTING, READY or WORKING", get=_told("engine"))
    live: bpy.props.StringProperty(
        name="Live Picture",
        description="Why there is no live picture; empty when all is well",
        get=lambda self: live.message(),
    )
    environment: bpy.props.StringProperty(
        name="Environment", description="IDLE, WORKING, DONE, FAILED or CANCELLED", get=_told("environment")
    )


CLASSES = (ParlandoTake, pins.ParlandoPin, ParlandoScene, ParlandoStatus)


def register() -> None:
    """Adds `scene.parlando` and `window_manager.parlando`."""
    bpy.types.Scene.parlando = bpy.props.PointerProperty(type=ParlandoScene)
    bpy.types.WindowManager.parlando = bpy.props.PointerProperty(type=ParlandoStatus)


def unregister() -> None:
    """Takes them away again."""
    del bpy.types.WindowManager.parlando
    del bpy.types.Scene.parlando
