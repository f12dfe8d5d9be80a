"""What is seen: one router a page."""
