"""Drawing of the diagrams: what ``compute`` connects gets its places here."""
