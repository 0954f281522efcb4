"""The actor's head and face over the VMC protocol: a source and a sink."""
