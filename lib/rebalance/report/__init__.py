"""What turns results into pages: tables beside reported numbers, rendered notebooks, the index."""
