"""Traffic of servers: what they move, and what follows when they have used up their share."""
