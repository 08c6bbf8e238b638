"""The method: roles, recipes, mixing, sampling, schedule, weight filter. Knows no models and no text."""
