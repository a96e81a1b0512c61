"""Under Landmarks in the 3D View's sidebar: frames that a new take keeps."""

from typing import Any

import bpy

from ..addon import compat, landmarks, pin_frames
from ..addon.problem import Problem
from ..operators import animate, pins
from . import parts


class PARLANDO_UL_pins(bpy.types.UIList):
    """The pinned ranges of the landmarks in use."""

    bl_idname = "PARLANDO_UL_pins"

    def draw_item(
        self,
        context: bpy.types.Context,
        layout: Any,
        data: Any,
        item: Any,
        icon: Any,
        active_data: Any,
        active_property: Any,
        index: Any = 0,
        flt_flag: Any = 0,
    ) -> None:
        """One range."""
        rig = _rig(context)
        if rig is None:
            return
        first, last = pin_frames.frames_of(rig, item)
        row = layout.row(align=True)
        row.label(text=f"{first} – {last}", icon="PINNED")
        row.label(text=item.take)
        button = row.operator("parlando.unpin_frames", text="", icon="X", emboss=False)
        button.start, button.end = first, last

    def filter_items(self, context: bpy.types.Context, data: Any, property: Any) -> Any:
        """Only those of these landmarks."""
        rig = _rig(context)
        id = rig.collection[landmarks.OWNER] if rig is not None else None
        return [self.bitflag_filter_item if pin.sound_id == id else 0 for pin in getattr(data, property)], []


class PARLANDO_PT_pins(bpy.types.Panel):
    """Which frames are pinned."""

    bl_idname = "PARLANDO_PT_pins"
    bl_label = "Pinned Frames"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Parlando"

    def draw(self, context: bpy.types.Context) -> None:
        """Draws it."""
        layout = self.layout
        scene = compat.sequencer_scene(context)
        start, end = pin_frames.range_meant(scene)
        layout.operator("parlando.pin_frames", text=f"Pin Frames {start} to {end}", icon="PINNED")
        parts.reason(layout, context, animate.why_no_rig(scene))
        if not pins.why_no_unpin(scene):
            settings = scene.parlando
            layout.template_list("PARLANDO_UL_pins", "", settings, "pins", settings, "pin_index", rows=2)
            layout.operator("parlando.unpin_frames", icon="UNPINNED")


def _rig(context: bpy.types.Context) -> landmarks.Rig | None:
    try:
        return landmarks.in_use(compat.sequencer_scene(context))
    except Problem:
        return None


CLASSES = (PARLANDO_UL_pins, PARLANDO_PT_pins)
