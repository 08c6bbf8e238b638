"""Measurements and checks: turns engine runs into tables and reports. Knows nothing about the page."""
