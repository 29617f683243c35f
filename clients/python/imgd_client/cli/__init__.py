"""imgctl, the command line. It is a client like any other."""

__all__: list[str] = []
