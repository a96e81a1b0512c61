"""What moves jobs on: a timer in a window, whoever calls `pump()` in background, where timers do not fire."""

import time
from collections.abc import Callable

import bpy

from . import jobs, live

INTERVAL = 0.1  # s between two steps of the timer
REDRAW_INTERVAL = 0.25  # s between two redraws while something is in work
_AREAS = {"SEQUENCE_EDITOR": "UI", "VIEW_3D": "UI", "PREFERENCES": "WINDOW"}

steps: list[Callable[[], bool]] = []  # of those who watch jobs, each says whether anything happened

_last_redraw = 0.0
_stale = False


def pump() -> bool:
    """Moves jobs, engine, environment and the live picture one step; whether anything changed."""
    happened = jobs.pump()
    happened |= live.step()
    for step in steps:
        happened |= step()
    _redraw(happened)
    return happened


def wake() -> None:
    """Starts the timer; call it after anything was queued."""
    if not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=0.01, persistent=True)


def _tick() -> float | None:
    pump()
    if jobs.busy():
        return INTERVAL
    _redraw(True, now=True)
    return None


def _redraw(happened: bool, now: bool = False) -> None:
    """Redraws the panels that show progress, not more often than people can read it."""
    global _last_redraw, _stale
    _stale |= happened
    if not _stale or (not now and time.monotonic() - _last_redraw < REDRAW_INTERVAL):
        return
    _last_redraw, _stale = time.monotonic(), False
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            for region in area.regions:
                if region.type == _AREAS.get(area.type):
                    region.tag_redraw()


def unregister() -> None:
    """Stops the timer."""
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
