"""What a compiled driver is."""

class DirectDriver:
    """The base of drivers that are compiled. A connection calls them without Python's help."""
