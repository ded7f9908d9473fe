"""AP of single classes under two assignments (GGIoU Figure 2)."""
