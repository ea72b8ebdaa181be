"""The command line: one file a verb. Nothing else prints."""
