"""The method: roles, recipes, mixing, sampling, schedule, weight filter. Knows nothing of models or text."""
