"""The scripts that go out beside an exported file. Each is one file, runs without this project, and answers as it does."""
