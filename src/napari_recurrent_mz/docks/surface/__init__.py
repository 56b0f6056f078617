"""The Surface dock: one image on a tilted or curved surface."""
