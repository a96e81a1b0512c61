"""Preferences: which Python runs the engine, where, and where takes go; and how the engine is launched from them."""

import os
from pathlib import Path
from typing import Any

import bpy

from . import environment, jobs, pump, takes
from .engine_process import Launch, LaunchError

PACKAGE = (__package__ or "").rpartition(".")[0]
ROOT = Path(__file__).resolve().parent.parent
OVERRIDE = "PARLANDO_ENGINE_PYTHON"
NO_ENGINE = "The engine has no environment yet: create one in the preferences of Parlando"
SHOWN_LOG_LINES = 12


def _engine_changed(self: "ParlandoPreferences", context: bpy.types.Context) -> None:
    jobs.client().refresh()


class ParlandoPreferences(bpy.types.AddonPreferences):
    """What is chosen once for all files."""

    bl_idname = PACKAGE

    engine_python: bpy.props.StringProperty(
        name="Python",
        description="A Python 3.11 or newer that has the packages of engine/requirements.txt. "
        "Empty: the environment created here",
        subtype="FILE_PATH",
        update=_engine_changed,
    )
    environment_kind: bpy.props.EnumProperty(
        name="Kind",
        description="What the engine's environment computes on",
        items=(
            ("CPU", "CPU", "Runs everywhere, about 300 MB"),
            ("CUDA", "CUDA", "For NVIDIA graphics cards, several GB"),
        ),
    )
    base_python: bpy.props.StringProperty(
        name="Made With",
        description="The Python the environment is made with. Empty: Python 3.11 if there is one, else Blender's own",
        subtype="FILE_PATH",
    )
    wheels_folder: bpy.props.StringProperty(
        name="Wheels",
        description="Install from the wheels in this folder instead of the network",
        subtype="DIR_PATH",
    )
    device: bpy.props.EnumProperty(
        name="Device",
        description="What the engine computes on",
        items=(
            ("auto", "Automatic", "CUDA, then Metal, then the CPU"),
            ("cuda", "CUDA", "An NVIDIA graphics card"),
            ("mps", "Metal", "Apple's graphics"),
            ("cpu", "CPU", "The processor"),
        ),
        update=_engine_changed,
    )
    takes_folder: bpy.props.StringProperty(
        name="Takes",
        description="Where takes are made; // is beside the blend file. Takes of files never saved go into a folder of "
        "the extension's own",
        subtype="DIR_PATH",
        options={"PATH_SUPPORTS_BLEND_RELATIVE"},
        default=takes.DEFAULT_HOME,
    )
    styles_folder: bpy.props.StringProperty(
        name="Styles",
        description="The library of styles: style files in this folder are offered in every blend file. Empty: a "
        "folder of the extension's own",
        subtype="DIR_PATH",
    )

    first_steps: bpy.props.BoolProperty(
        name="First Steps",
        description="Show the way to the first result at the top of the tab Parlando in the Sequencer and the 3D View",
        default=True,
    )

    def draw(self, context: bpy.types.Context) -> None:
        """Draws them."""
        from ..ui_panels import preferences

        preferences.draw(self, self.layout)


def get() -> ParlandoPreferences:
    """The extension's preferences."""
    found: Any = bpy.context.preferences.addons[PACKAGE].preferences
    return found


def own_folder(name: str) -> Path:
    """A folder in the user's part of the extension, there or not; never the extension's own folder."""
    return Path(bpy.utils.extension_path_user(PACKAGE, path=name))


def environment_folder() -> Path:
    """Where the engine's environment is made."""
    return own_folder("engine") / "environment"


def takes_home() -> Path:
    """Where new takes go."""
    return takes.home(get().takes_folder, own_folder("takes"))


def styles_home() -> Path:
    """The library of styles."""
    chosen = get().styles_folder
    return takes.home(chosen, own_folder("styles")) if chosen else own_folder("styles")


def engine_python() -> str:
    """The Python the engine runs on; empty without one."""
    if chosen := os.environ.get(OVERRIDE):
        return chosen
    if chosen := get().engine_python:
        return bpy.path.abspath(chosen)
    made = environment.python_of(environment_folder())
    creation = jobs.creation()
    if creation is not None and creation.state != "DONE" and creation.folder == environment_folder():
        return ""
    return str(made) if made.exists() else ""


def launch() -> Launch:
    """How the engine is to be started now. Raises LaunchError."""
    python = engine_python()
    if not python:
        raise LaunchError(f"{NO_ENGINE}.")
    # Online access is Blender's to grant, the engine asks for models only with it.
    offline = () if bpy.app.online_access else (("PARLANDO_OFFLINE", "1"),)
    return Launch(python, ROOT, get().device, offline)


def why_no_creation() -> str:
    """Why an environment cannot be made, for a greyed button; empty when it can."""
    creation = jobs.creation()
    if creation is not None and creation.working:
        return "The environment is being made"
    if not get().wheels_folder and not bpy.app.online_access:
        return "Allow Online Access (Preferences, System) or choose a folder of wheels"
    return ""


def why_no_check() -> str:
    """Why the engine cannot be checked now; empty when it can."""
    if not engine_python():
        return NO_ENGINE
    return "The engine is at work" if jobs.busy() else ""


def create_environment() -> None:
    """Starts making the environment. It is watched and cancelled through `addon.jobs`."""
    chosen = get()
    wheels = Path(bpy.path.abspath(chosen.wheels_folder)) if chosen.wheels_folder else None
    base = bpy.path.abspath(chosen.base_python) if chosen.base_python else environment.default_base()
    jobs.client().stop()
    folder = environment_folder()
    commands = environment.steps(base, folder, ROOT, chosen.environment_kind, wheels)
    jobs.create(environment.Creation(commands, folder, ROOT, offline=wheels is not None))
    pump.wake()


def check_engine() -> None:
    """Asks the engine how it is; with online access or wheels it fetches models that are missing."""
    wheels = get().wheels_folder
    params: dict[str, Any] = {"fetch": bool(bpy.app.online_access or wheels)}
    if wheels:
        params["wheels"] = bpy.path.abspath(wheels)
    jobs.check(params)
    pump.wake()
