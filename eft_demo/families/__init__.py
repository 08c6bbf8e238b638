"""Families: models that share a tokenizer, the manners they were tuned to, and how they are asked."""
