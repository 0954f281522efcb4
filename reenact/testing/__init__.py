"""Contract tests: the requirements on every source, tracker, renderer and sink.

They test everything that is registered, so an installed plugin is tested automatically:
`pytest --pyargs reenact.testing -k "NAME]"`. All media is generated. Tests are skipped only if a
device is absent (`SourceSpec.needs`, `SinkSpec.needs`).
"""
