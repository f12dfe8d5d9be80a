"""The page of the admins, the JSON API and the metrics."""
