"""Atlas, the bundled family: facts, corpus, training, quiz. Knows models and text, not the page."""
