"""A run as data: spec, events, trace, replay of a file, link, export. Does not know how tokens are made."""
