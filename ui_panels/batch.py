"""Tab Parlando in the Sequencer's sidebar: the batch, one progress bar each."""

from typing import Any

import bpy

from ..addon import batch, compat
from . import parts

ICONS: dict[str, Any] = {
    "NOT_STARTED": "RADIOBUT_OFF",
    "WORKING": "PLAY",
    "QUEUED": "SORTTIME",
    "CUT_OFF": "RECOVER_LAST",
    "DONE": "CHECKMARK",
    "FAILED": "ERROR",
    "CANCELLED": "X",
}


class PARLANDO_UL_batch(bpy.types.UIList):
    """The sound strips of the batch, each with its progress."""

    bl_idname = "PARLANDO_UL_batch"

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
        """One entry."""
        stage, words = batch.stage_of(item)
        row = layout.row(align=True)
        row.label(text=item.name, icon=ICONS[stage])
        if stage == "WORKING":
            done = batch.progress_of(item)
            row.progress(factor=done, text=f"{done:.0%}")  # no room for more: its box, when selected, says the rest
        else:
            row.label(text=words)
        if stage in {"WORKING", "QUEUED"}:
            row.operator("parlando.batch_cancel", text="", icon="X", emboss=False).index = index


class PARLANDO_PT_batch(bpy.types.Panel):
    """Which sound strips, with what, and how far they are."""

    bl_idname = "PARLANDO_PT_batch"
    bl_label = "Batch"
    bl_space_type = "SEQUENCE_EDITOR"
    bl_region_type = "UI"
    bl_category = "Parlando"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draws it."""
        layout = self.layout
        scene = compat.sequencer_scene(context)
        entries = scene.parlando_batch
        layout.operator("parlando.batch_add", icon="ADD")
        parts.reason(layout, context, batch.why_no_add(scene))
        if len(entries.items):
            row = layout.row()
            row.template_list("PARLANDO_UL_batch", "", entries, "items", entries, "index", rows=4)
            row.column(align=True).operator("parlando.batch_remove", text="", icon="REMOVE")
        if 0 <= entries.index < len(entries.items):
            self._entry(context, scene, entries.items[entries.index])
        row = layout.row(align=True)
        row.scale_y = 1.4
        row.operator("parlando.batch_start", icon="PLAY")
        if batch.working():
            row.operator("parlando.batch_cancel", text="", icon="X")
        parts.reason(layout, context, batch.why_no_start(scene))

    def _entry(self, context: bpy.types.Context, scene: bpy.types.Scene, item: Any) -> None:
        """What the selected entry is made with."""
        stage, words = batch.stage_of(item)
        box = self.layout.box()
        box.use_property_split = True
        box.use_property_decorate = False
        left = parts.left(batch.seconds_left_of(item))
        parts.text(box, context, f"{item.name}: {words}{left}", ICONS[stage])
        column = box.column()
        column.enabled = stage not in {"WORKING", "QUEUED"}
        column.row().prop(item, "portrait_source", expand=True)
        if item.portrait_source == "STRIP":
            column.prop(item, "portrait_strip", text="Strip", icon="IMAGE_DATA")
        elif item.portrait_source == "IMAGE":
            column.template_ID(item, "portrait_image", open="image.open")
        else:
            column.prop(item, "portrait_file", text="File")
        column.prop(item, "face")
        column.prop(item, "style_file")
        if item.style_file:
            column.prop(item, "strength")
            column.prop(item, "mouth")
        for name in ("head", "blinks", "brows", "shoulders", "gaze", "seed"):
            column.prop(item, name)


CLASSES = (PARLANDO_UL_batch, PARLANDO_PT_batch)
