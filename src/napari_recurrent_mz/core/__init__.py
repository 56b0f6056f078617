"""What everything else is built on: scans and targets, optics, methods, errors, progress, device.

It computes nothing that a person asked for, and imports no other room.
"""
