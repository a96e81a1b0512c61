"""What stops a job on Blender's side. The engine has its own errors, which arrive as messages."""


class Problem(Exception):
    """One sentence for the animator: what is wrong, with which strip or file, and what to do."""
