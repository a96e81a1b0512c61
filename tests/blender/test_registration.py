"""The extension registers, draws and goes without a trace."""

import warnings
from types import SimpleNamespace
from typing import Any

import bpy
import pytest

PACKAGE = "bl_ext.dev.parlando"
OPERATORS = (
    "generate", "cancel", "add_landmarks", "render_edits", "check_engine", "create_environment", "cancel_environment",
    "use_take", "set_standard_view",
)  # fmt: skip


def test_operators_and_properties_are_there(parlando: SimpleNamespace, scene: Any) -> None:
    for name in OPERATORS:
        assert getattr(bpy.ops.parlando, name).get_rna_type().description
    assert scene.parlando.strength == 1.0
    assert bpy.context.window_manager.parlando.status == "IDLE"
    assert bpy.context.preferences.addons[PACKAGE].preferences.takes_folder


def test_everything_has_a_tooltip(parlando: SimpleNamespace, scene: Any) -> None:
    groups = (
        scene.parlando,
        bpy.context.window_manager.parlando,
        parlando.preferences.get(),
        scene.parlando.takes.add(),
    )
    for group in groups:
        for prop in group.bl_rna.properties:
            if prop.identifier not in {"rna_type", "name", "bl_idname", "module"}:
                assert prop.description, prop.identifier


def test_paths_beside_the_blend_file_are_taken_without_a_warning(parlando: SimpleNamespace, scene: Any) -> None:
    entry = scene.parlando_batch.items.add()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Blender warns of each such path it was not told to expect
        for group, names in (
            (scene.parlando, ("portrait_file", "style_file")),
            (scene.parlando.takes.add(), ("folder", "image", "style")),
            (scene.parlando_styles, ("file",)),
            (entry, ("portrait_file", "style_file")),
            (parlando.preferences.get(), ("takes_folder",)),
        ):
            for name in names:
                before = getattr(group, name)
                setattr(group, name, "//beside/it.png")
                assert getattr(group, name) == "//beside/it.png"
                setattr(group, name, before)


def test_unregister_and_register_again(parlando: SimpleNamespace) -> None:
    import addon_utils

    addon_utils.disable(PACKAGE, default_set=False)
    assert not hasattr(bpy.types.Scene, "parlando")
    assert not hasattr(bpy.types, "PARLANDO_PT_generate")
    addon_utils.enable(PACKAGE, default_set=True)
    assert hasattr(bpy.types.Scene, "parlando")


def test_greyed_buttons_say_why(parlando: SimpleNamespace, scene: Any) -> None:
    assert not bpy.ops.parlando.generate.poll()
    assert "no sound strip" in parlando.generate.why_not_generate(scene)
    assert parlando.preferences.why_no_check()
    with pytest.raises(RuntimeError, match="sound strip"):
        bpy.ops.parlando.generate()


def test_standard_view(parlando: SimpleNamespace, scene: Any) -> None:
    scene.view_settings.view_transform = "AgX"
    assert bpy.ops.parlando.set_standard_view() == {"FINISHED"}
    assert scene.view_settings.view_transform == "Standard"
    assert not bpy.ops.parlando.set_standard_view.poll()
