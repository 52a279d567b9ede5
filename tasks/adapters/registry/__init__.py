"""Registries of images, and the logins to them."""
