"""The kopf program: FineTuneJob in, PyTorchJob out, and where the job stands.

Law: one room per stage of the flow (docs/architecture.md). Rooms marked pure take values and return values; only
`cluster`, `intake`, `metrics`, `handlers`, `workqueue`, `program` and `local` touch the outside.
tests/test_architecture.py holds the imports.
"""
