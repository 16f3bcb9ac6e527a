"""Address pools, and the addresses that servers get from them."""
