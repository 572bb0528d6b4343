"""An hour of mixed traffic between gateways that are reloaded, killed and moved meanwhile; see __main__.py."""
