"""The Surface dock: one image on a tilted or curved surface.

The surface is given by points, by a height map or by a plane.
"""
