"""An agent set up from its own page: what is found is shown first, what is written is checked first. Without Flask."""
