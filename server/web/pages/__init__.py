"""One module per area of the pages; each is a router of HTML answers."""
