"""Sequences, steps, events: many recipes on few models. Knows token ids and text pieces; knows no page."""
