"""One run as a page that a person reads in a minute: HTML for people, Markdown and SVG for CI."""
