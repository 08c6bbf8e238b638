"""The page and its server: the only room that imports gradio. Does not know how tokens are made."""
