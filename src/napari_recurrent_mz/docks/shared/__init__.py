"""What the docks stand on: one base, one form maker, one worker, one guard."""
