"""A twin of every port, in memory, for tests: each passes the same contract tests as the real adapter."""
