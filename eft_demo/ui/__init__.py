"""The page and its server: the only room that imports gradio. Does not know how tokens are made."""

from eft_demo.host.environment import keep_from_gradio, without_network

# Gradio reads the environment while it is imported, so it is imported here, before any part of this room.
keep_from_gradio()
with without_network():
    import gradio  # noqa: F401
