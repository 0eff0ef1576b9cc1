"""Generators: a latent to a style, a style to a photograph of nobody."""
