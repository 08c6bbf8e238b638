"""Families: models that share a tokenizer, the behaviours they were tuned to, and their prompt formats."""
