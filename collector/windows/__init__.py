"""The windows of all halls as they are now: what is known of each, and the one thing to be said of it."""
