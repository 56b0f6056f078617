"""The Reconstruct dock: scans, heights, optics and grid in, a volume out."""
