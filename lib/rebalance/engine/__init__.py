"""From the settings of a run to a trained detector and its detections."""
