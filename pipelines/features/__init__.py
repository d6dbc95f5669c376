"""What the quality suites judge: figures computed from records, never their text."""
