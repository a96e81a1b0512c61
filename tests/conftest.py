"""Blender's user files during the tests: in a folder of their own, set before bpy is imported for the first time."""

import os
import tempfile

os.environ["BLENDER_USER_RESOURCES"] = tempfile.mkdtemp(prefix="parlando-blender-")
