"""Tab Parlando in the Sequencer's sidebar: the library of styles, a new one, and a preview."""

import bpy

from ..addon import compat, style_make, style_preview, styles
from . import parts

PICTURE, PREVIEW = 3.2, 9.0  # sizes, in rows of the interface


class PARLANDO_PT_styles(bpy.types.Panel):
    """Choose, look at, try and make styles."""

    bl_idname = "PARLANDO_PT_styles"
    bl_label = "Styles"
    bl_space_type = "SEQUENCE_EDITOR"
    bl_region_type = "UI"
    bl_category = "Parlando"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draws it."""
        layout = self.layout
        scene = compat.sequencer_scene(context)
        row = layout.row(align=True)
        row.prop(scene.parlando_styles, "style", text="")
        row.operator("parlando.rename_style", text="", icon="GREASEPENCIL")
        row.operator("parlando.import_style", text="", icon="IMPORT")
        row.operator("parlando.export_style", text="", icon="EXPORT")
        row.operator("parlando.remove_style", text="", icon="TRASH")
        style = styles.chosen(scene)
        if style is not None:
            self._chosen(context, style)
        self._preview(context, scene)
        self._make(context, scene)

    def _chosen(self, context: bpy.types.Context, style: styles.Entry) -> None:
        """What can be seen of a style: the frames nearest to the four key mouths."""
        layout = self.layout
        if style.damaged:
            parts.text(layout, context, f"“{style.name}” cannot be used: {style.damaged}.", "ERROR")
            return
        if style.about:
            parts.text(layout, context, style.about)
        pictures = style.pictures()
        if not pictures and not style.about:
            parts.text(layout, context, "There are no pictures of its reference frames beside the file.")
            return
        row = layout.row(align=True)
        for name, picture in pictures.items():
            column = row.column(align=True)
            column.template_icon(icon_value=styles.icon(picture), scale=PICTURE)
            letter = column.row()
            letter.alignment = "CENTER"
            letter.label(text=name)

    def _preview(self, context: bpy.types.Context, scene: bpy.types.Scene) -> None:
        """Preview Style and the loop."""
        layout = self.layout
        row = layout.row(align=True)
        row.operator("parlando.preview_style", icon="PLAY")
        loop = style_preview.shown()
        if loop is not None:
            row.operator("parlando.close_style_preview", text="", icon="X")
        parts.reason(layout, context, style_preview.why_not(scene))
        if loop is not None:
            box = layout.box()
            box.template_icon(icon_value=style_preview.icon(), scale=PREVIEW)
            box.label(text=loop.label)

    def _make(self, context: bpy.types.Context, scene: bpy.types.Scene) -> None:
        """A new style."""
        settings = scene.parlando_styles
        box = self.layout.box()
        box.use_property_split = True
        box.use_property_decorate = False
        box.row().prop(settings, "source", expand=True)
        if settings.source == "STRIP":
            strip = style_make.strip_in_use(scene)
            row = box.row()
            row.enabled = strip is not None
            row.label(text=strip.name if strip is not None else "No movie or image strip", icon="SEQUENCE")
        else:
            box.prop(settings, "file")
        box.prop(settings, "name")
        row = box.row()
        strip = style_make.strip_in_use(scene) if settings.source == "STRIP" else None
        why_no_fit = style_make.why_no_fit(scene, strip)
        row.enabled = not why_no_fit
        row.prop(settings, "fit")
        if settings.fit:
            parts.reason(box, context, why_no_fit)
        box.operator("parlando.make_style", icon="ADD")
        parts.reason(box, context, style_make.why_not(scene))


CLASSES = (PARLANDO_PT_styles,)
