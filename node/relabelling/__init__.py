"""What is changed in a copy, and how it is written."""
