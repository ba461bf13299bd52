"""rnnms."""
