"""The cases, a subject a file. Each file is found by itself; see README.md for how to write one."""
