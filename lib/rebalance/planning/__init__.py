"""What there is to do for some targets, what it takes, and how far it is."""
