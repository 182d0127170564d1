"""Parts of the world of conversations, one noun a file."""
