"""Networks as modules and sessions, without a configuration of their own; components load them."""
