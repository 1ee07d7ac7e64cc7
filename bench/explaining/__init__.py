"""What models look at: heat maps, and how far they are more than pictures."""
