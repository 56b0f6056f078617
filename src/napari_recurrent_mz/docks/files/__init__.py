"""Opening and saving by napari's own menus: the reader, the writers and the sample data.

Files keep their micrometres, heights and optics on the way in and out.
"""
