"""vocoder-core."""
