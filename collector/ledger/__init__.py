"""Every record ever accepted, and what became of it; everything else reads from here.

`store` is the file, `intake` takes records in, `meaning` says what became of each press, `delivery` is what the
forwarder works on, `overview` counts, `audit` recomputes the chains.
"""
