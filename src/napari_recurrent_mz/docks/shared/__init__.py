"""What the docks stand on: one base, one form maker, one worker, one guard.

``insides`` alone touches napari's private parts and the garbage collector.
"""
