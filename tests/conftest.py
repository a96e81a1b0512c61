"""Where Blender's user files go during the tests: a folder of their own, set before bpy is imported for the first time."""

import os
import tempfile

os.environ["BLENDER_USER_RESOURCES"] = tempfile.mkdtemp(prefix="parlando-blender-")
