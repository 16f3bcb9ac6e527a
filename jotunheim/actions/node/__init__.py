"""Actions on what nodes have."""
