"""Network namespaces, links, programs and traffic for tests and for the demonstration. Standard library only."""
