"""Contract tests: what every source, tracker, renderer and sink must do.

They test everything that is registered, so a plugin is tested by being installed:
`pytest --pyargs reenact.testing -k "NAME]"`. All media is generated. Nothing but an absent device
(`SourceSpec.needs`, `SinkSpec.needs`) makes a test skip.
"""
