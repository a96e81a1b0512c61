"""Tab Parlando in the Sequencer's sidebar: what to generate, how it goes, and the takes."""

from typing import Any

import bpy

from ..addon import compat, generate, placing, portrait, preferences, strips, styles, takes
from . import parts


class PARLANDO_PT_generate(bpy.types.Panel):
    """Sound, portrait, style, Generate."""

    bl_idname = "PARLANDO_PT_generate"
    bl_label = "Parlando"
    bl_space_type = "SEQUENCE_EDITOR"
    bl_region_type = "UI"
    bl_category = "Parlando"

    def draw(self, context: bpy.types.Context) -> None:
        """Draws it."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        scene = compat.sequencer_scene(context)
        settings = scene.parlando
        sound = strips.sound_in_use(scene)
        row = layout.row()
        row.enabled = sound is not None
        row.label(text=sound.name if sound is not None else "No sound strip", icon="SOUND")

        column = layout.column()
        column.row().prop(settings, "portrait_source", expand=True)
        if settings.portrait_source == "STRIP":
            column.prop(settings, "portrait_strip", text="Strip", icon="IMAGE_DATA")
        elif settings.portrait_source == "IMAGE":
            column.template_ID(settings, "portrait_image", open="image.open")
        else:
            column.prop(settings, "portrait_file", text="File")
        row = column.row(align=True)
        if placing.find(scene) is not None:
            row.operator("parlando.edit_points", icon="EDITMODE_HLT")
            row.operator("parlando.remove_points", text="", icon="X")
        else:
            row.prop(settings, "face")
            row.operator("parlando.place_points", text="", icon="OUTLINER_OB_MESH")

        column = layout.column()
        column.prop(settings, "style_file")
        row = column.row()
        row.enabled = bool(settings.style_file)
        row.prop(settings, "strength")
        if settings.style_file:
            column.prop(settings, "mouth")
            if settings.mouth != "OWN":
                parts.reason(column, context, styles.why_no_mouth(scene))
        header, body = layout.panel("parlando_motion", default_closed=True)
        header.label(text="Motion")
        if body is not None:
            filmed = portrait.is_movie(scene)
            if filmed:
                parts.text(body, context, "Head, eyes and brows stay the movie's.", "INFO")
            column = body.column()
            column.enabled = not filmed
            for amount in ("head", "blinks", "brows", "shoulders", "gaze", "seed"):
                column.prop(settings, amount)
        header, body = layout.panel("parlando_output", default_closed=True)
        header.label(text="Output")
        if body is not None:
            body.prop(settings, "format")
            body.prop(settings, "mattes")

        row = layout.row()
        row.scale_y = 1.4
        row.operator("parlando.generate", icon="PLAY")
        why_not = generate.why_not_generate(scene)
        parts.reason(layout, context, why_not)
        if why_not == preferences.NO_ENGINE:
            row = layout.row()
            row.operator("preferences.addon_show", text="Preferences", icon="PREFERENCES").module = preferences.PACKAGE
        parts.progress(layout, context)
        parts.message(layout, context)
        if scene.view_settings.view_transform != "Standard":
            box = layout.box()
            parts.text(
                box,
                context,
                f"The view transform {scene.view_settings.view_transform} changes the portrait's colours.",
                "COLOR",
            )
            box.operator("parlando.set_standard_view")


class PARLANDO_UL_takes(bpy.types.UIList):
    """Takes of the sound strip in use; the eye marks the shown one."""

    bl_idname = "PARLANDO_UL_takes"

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
        """One take."""
        scene = compat.sequencer_scene(context)
        shown = any(strip.get(strips.PICTURE_TAKE) == item.name for strip in strips.pictures(scene, item.sound_id))
        row = layout.row(align=True)
        row.label(text=item.name, icon="SEQUENCE")
        row.label(text=f"{item.frames} frames")
        row.operator(
            "parlando.use_take", text="", icon="HIDE_OFF" if shown else "HIDE_ON", emboss=False
        ).take = item.name

    def filter_items(self, context: bpy.types.Context, data: Any, property: Any) -> Any:
        """Only those of the sound in use, all without one."""
        sound = strips.sound_in_use(compat.sequencer_scene(context))
        id = sound.get(strips.SOUND_ID, "") if sound is not None else None
        flags = [
            self.bitflag_filter_item if id is None or take.sound_id == id else 0 for take in getattr(data, property)
        ]
        return flags, []


class PARLANDO_PT_takes(bpy.types.Panel):
    """Which take is shown, and its landmarks."""

    bl_idname = "PARLANDO_PT_takes"
    bl_label = "Takes"
    bl_space_type = "SEQUENCE_EDITOR"
    bl_region_type = "UI"
    bl_category = "Parlando"

    def draw(self, context: bpy.types.Context) -> None:
        """Draws it."""
        layout = self.layout
        scene = compat.sequencer_scene(context)
        settings = scene.parlando
        sound = strips.sound_in_use(scene)
        if not len(settings.takes):
            parts.text(layout, context, "No takes yet.")
            return
        row = layout.row()
        row.template_list("PARLANDO_UL_takes", "", settings, "takes", settings, "take_index", rows=3)
        row.column().operator("parlando.remove_take", text="", icon="REMOVE")
        take = takes.shown(scene, sound)
        if take is not None and take.note:
            parts.text(layout, context, f"{take.name}: {take.note}.")
        layout.operator("parlando.compare_take", icon="ARROW_LEFTRIGHT")
        layout.operator("parlando.add_landmarks", icon="EMPTY_AXIS")
        parts.reason(layout, context, takes.why_not_usable(take))


CLASSES = (PARLANDO_PT_generate, PARLANDO_UL_takes, PARLANDO_PT_takes)
