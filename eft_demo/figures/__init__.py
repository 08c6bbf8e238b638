"""Plotly figures, as plain dicts, from traces and tables. Knows no models."""
