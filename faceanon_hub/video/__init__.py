"""Videos: in and out, tracks, one person from the first frame to the last, voices."""
