"""Models behind one protocol; the only room, with families and atlas, that imports transformers."""
