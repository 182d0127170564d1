"""Pages for people: templates, static files and what renders them."""
