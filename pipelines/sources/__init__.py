"""The shapes of files that people really have, read into records."""
