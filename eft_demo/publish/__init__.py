"""What others can host: repositories for Hugging Face Spaces."""
