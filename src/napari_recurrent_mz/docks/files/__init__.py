"""Opening and saving by napari's own menus: the reader, the writers and the sample data."""
