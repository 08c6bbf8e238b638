"""Lessons: files that lead through the page step by step, and the check of what they claim."""
