"""How a handle pulls a landmark: plain Transformation constraints, which Blender evaluates wherever the file is opened,
with or without this add-on, and which are read back here as numbers.

A pull is a 3×3 matrix W: the landmark is moved by W · (the handle's own location), both in the head's axes, on top of
everything the landmark is keyed to. No expression is run and no key is touched, so pulls add up with any edit.
"""

import math

import bpy
import numpy as np

PREFIX = "Parlando "  # of the constraints' names; what follows is the handle's role
_AXES = "xyz"


def add(point: bpy.types.Object, handle: bpy.types.Object, name: str, matrix: np.ndarray) -> None:
    """Lets `handle` pull `point` by `matrix` (3, 3); as many constraints as the fullest row has entries."""
    entries = [list(np.flatnonzero(row)) for row in matrix]
    for layer in range(max(len(row) for row in entries)):
        made = point.constraints.new("TRANSFORM")
        assert isinstance(made, bpy.types.TransformConstraint)
        made.name = f"{PREFIX}{name}"
        made.target = handle
        made.target_space = made.owner_space = "LOCAL"
        made.map_from = made.map_to = "LOCATION"
        made.mix_mode, made.use_motion_extrapolate = "ADD", True
        for target, axis in enumerate(_AXES):
            source = entries[target][layer] if layer < len(entries[target]) else 0
            weight = float(matrix[target, source]) if layer < len(entries[target]) else 0.0
            setattr(made, f"from_min_{axis}", -1.0)
            setattr(made, f"from_max_{axis}", 1.0)
            setattr(made, f"map_to_{axis}_from", "XYZ"[source])
            setattr(made, f"to_min_{axis}", -weight)
            setattr(made, f"to_max_{axis}", weight)
        made.show_expanded = False


def read(point: bpy.types.Object) -> list[tuple[bpy.types.Object, np.ndarray]] | None:
    """The pulls on a landmark, as its constraints have them now: (handle, (3, 3)).

    None when it has any constraint, or a change to one of ours, that is more than that: then Blender must be asked.
    """
    found = []
    for constraint in point.constraints:
        if constraint.mute or constraint.influence == 0.0:
            continue
        if not isinstance(constraint, bpy.types.TransformConstraint) or not constraint.name.startswith(PREFIX):
            return None
        plain = (
            constraint.target_space == constraint.owner_space == "LOCAL"
            and constraint.map_from == constraint.map_to == "LOCATION"
            and constraint.mix_mode == "ADD"
            and constraint.use_motion_extrapolate
        )
        if not plain:
            return None
        if constraint.target is None:
            continue  # the handle was deleted: Blender leaves such a constraint out
        matrix = np.zeros((3, 3))
        for target, axis in enumerate(_AXES):
            low, high = (float(getattr(constraint, f"to_{end}_{axis}")) for end in ("min", "max"))
            source = "XYZ".index(getattr(constraint, f"map_to_{axis}_from"))
            from_axis = _AXES[source]
            begin, end = (float(getattr(constraint, f"from_{end}_{from_axis}")) for end in ("min", "max"))
            if begin != -1.0 or end != 1.0 or not math.isclose(low, -high, abs_tol=1e-9):
                return None
            matrix[target, source] += high * constraint.influence
        found.append((constraint.target, matrix))
    return found
