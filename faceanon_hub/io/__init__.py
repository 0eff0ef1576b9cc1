"""Photos in and out: pixels, colour profiles, transparency, and what may be kept of everything else."""
