"""Measurements and pictures. Each module runs by itself: `python -m benchmarks.speed`."""
