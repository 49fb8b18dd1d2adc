"""Bytes that were never meant, thrown at everything that reads them. `make fuzz`; not a part of the quick run."""
