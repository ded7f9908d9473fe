"""What turns results into pages: tables beside the papers' numbers, rendered notebooks, the index."""
