"""The new face into the photo: where it ends, what stays in front of it, sharpness and noise."""
