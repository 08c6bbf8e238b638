"""Atlas, the bundled family: facts -> corpus -> training -> quiz. Knows models and text; knows nothing of the page."""
