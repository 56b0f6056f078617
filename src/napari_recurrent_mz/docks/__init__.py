"""The napari side: docks, sample data and the demo window.

The only room that imports napari, Qt or magicgui. The widgets hold no science: they turn
layers into scans, call the rooms below and turn planes back into layers.
"""
