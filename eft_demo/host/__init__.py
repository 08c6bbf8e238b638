"""The process and its machine: memory limits, environment variables, terminal. Knows no models."""
