"""The page and its server: the only room that imports gradio. Does not know how tokens are made."""

from eft_demo.host.environment import give_path, hide_network_variables, remove_gradio_variables

# Gradio reads the environment while it is imported, so it is imported here, before any part of this room.
remove_gradio_variables()
give_path()
with hide_network_variables():
    import gradio  # noqa: F401
