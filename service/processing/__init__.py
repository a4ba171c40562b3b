"""Turning an original into renditions, inside a jail; importing this package loads no decoder."""
