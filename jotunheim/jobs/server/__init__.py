"""Jobs about servers."""
