"""What a site could build itself instead of the node: Orthanc with a plugin, or storescp with a script."""
