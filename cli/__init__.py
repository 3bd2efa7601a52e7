"""The `sageops` command."""
