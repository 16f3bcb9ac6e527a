"""When it runs: the queue that wakes workers, leases, time-outs, attempts, and what follows a failure."""
