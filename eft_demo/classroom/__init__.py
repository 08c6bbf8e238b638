"""Rooms for a class: polls that a presenter opens and students answer on their phones. Knows no pages."""
