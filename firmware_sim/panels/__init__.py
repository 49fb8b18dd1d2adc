"""A panel for every device family, written from the vendor's description: bytes and `now_ms` in, bytes out."""
