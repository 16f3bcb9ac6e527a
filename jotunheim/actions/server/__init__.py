"""Actions on servers."""
