"""The engine: runs many recipes on a few models. Knows token ids and pieces of text; knows no page."""
