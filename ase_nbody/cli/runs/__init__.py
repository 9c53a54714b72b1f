"""What the commands do, and how they show it."""
