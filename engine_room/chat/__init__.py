"""Chat: conversations continued by a model in this process, many in one batch."""
