"""The JSON API: the same questions that the pages ask, for programs."""
