"""What several panels draw: a text over several lines, a job's progress, messages."""

import textwrap
from typing import Any

import bpy

from ..addon import jobs

POINTS_PER_LETTER = 7.0


def text(layout: Any, context: bpy.types.Context, words: str, icon: Any = "NONE") -> None:
    """A sentence over as many lines as the region needs."""
    scale = context.preferences.system.ui_scale
    width = context.region.width if context.region is not None else 300
    column = layout.column(align=True)
    column.scale_y = 0.8
    for number, line in enumerate(textwrap.wrap(words, max(20, int(width / (POINTS_PER_LETTER * scale)) - 6))):
        column.label(text=line, icon=(icon if number == 0 else "BLANK1") if icon != "NONE" else "NONE")


def reason(layout: Any, context: bpy.types.Context, words: str) -> None:
    """Why the button above is greyed."""
    if words:
        text(layout, context, words, "INFO")


def left(seconds: float) -> str:
    """Time left, as people say it."""
    if seconds < 0:
        return ""
    if seconds < 60:
        return f", {max(1, round(seconds))} s left"
    return f", {int(seconds) // 60} min {int(seconds) % 60:02d} s left"


def progress(layout: Any, context: bpy.types.Context) -> None:
    """The jobs in work and waiting, each with its Cancel."""
    now = context.window_manager.parlando
    for number, job in enumerate(jobs.active()):
        row = layout.row(align=True)
        if number == 0:
            row.progress(factor=now.progress, text=f"{job.title}: {now.stage}{left(now.seconds_left)}")
        else:
            row.label(text=f"{job.title} waits", icon="SORTTIME")
        row.operator("parlando.cancel", text="", icon="X").job = job.number


def message(layout: Any, context: bpy.types.Context) -> None:
    """What was told last, and the engine's last words after a failure."""
    now = context.window_manager.parlando
    if not now.message:
        return
    failed = now.outcome == "FAILED"
    box = layout.box()
    text(box, context, now.message, "ERROR" if failed else "NONE")
    words = jobs.client().last_words if failed else []
    for line in words[-4:]:
        if line not in now.message:
            text(box, context, line)
