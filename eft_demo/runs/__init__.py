"""A run as data: events, trace, replay of a file, link, export. Does not know how tokens are made."""
