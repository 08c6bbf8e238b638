"""Models behind one protocol. Only this room, families and atlas import transformers."""
