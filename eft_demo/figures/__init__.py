"""Traces and tables -> plotly figures, as plain dicts. Knows no models."""
