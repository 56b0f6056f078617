"""The Compare dock: a volume against a truth or another volume, plane by plane."""
