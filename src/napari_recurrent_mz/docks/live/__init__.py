"""The Live dock: scans come in one at a time, and the volume grows with them.

They come from a folder, from a microscope or from layers.
"""
