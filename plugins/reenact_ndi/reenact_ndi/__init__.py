"""Pictures over NDI, a protocol for video in a local network: a sink and a source."""
