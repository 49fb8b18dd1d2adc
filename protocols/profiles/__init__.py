"""A vendor's wire and keys as data, and the readers that turn a device's bytes into presses and noise."""
