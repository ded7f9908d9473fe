"""What a file of detections gets right and where it fails; for a run, or a file of one's own."""
