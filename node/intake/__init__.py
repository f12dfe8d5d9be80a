"""From the network into the spool: associations, their limits, the requests on them."""
