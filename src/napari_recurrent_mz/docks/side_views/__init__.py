"""The Side views dock: maximum-intensity projections that follow the viewer."""
