"""Data sets as COCO JSON and images: downloaded, converted, or drawn."""
