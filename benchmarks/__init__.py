"""What `make bench` runs: ratios measured side by side in one run, written to docs/benchmarks.md."""
